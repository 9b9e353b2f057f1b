#!lua
-- Keeps a message of a topic and announces it. Mirrors `Log::append`.
-- KEYS[1]  the messages: a stream with ids <offset>-0; fields t (us), e (its end, us), i (id), m (message),
--          b (bytes of all messages before it)
-- KEYS[2]  what is known of them: a hash of epoch, last, mark, time (us), ends (us), oldest: the offset of
--          the oldest within the bounds in number and bytes, bytes: of all messages ever, and what was
--          found when the stream was last looked at: counted: an offset, before: bytes before it, and
--          look: when to look again (us)
-- ARGV[1]  message; its bytes 14 to 29 (from 1) are replaced by epoch and offset
-- ARGV[2]  id, 16 bytes
-- ARGV[3]  time to keep, us
-- ARGV[4]  messages to keep
-- ARGV[5]  bytes to keep
-- ARGV[6]  PUBLISH or SPUBLISH
-- ARGV[7]  channel
-- ARGV[8]  how long ago the first attempt began, us; empty if this is it
-- ARGV[9]  how long the hash outlives the messages, us
-- returns  {'appended', epoch, offset, receivers}, {'repeated', epoch, offset}, or {'inconclusive'}
-- atomic   the offset, the message, what is dropped for it and the announcement are one step, so that
--          messages are announced in the order of their offsets
local MAX_SCAN, BATCH = 1024, 64
-- Keys live so much longer than they must, so that not every append has to prolong them.
local SLACK = 10000000
local known = redis.call('HMGET', KEYS[2], 'epoch', 'last', 'time', 'ends', 'oldest', 'bytes',
  'counted', 'before', 'look')
local last, oldest = tonumber(known[2] or '0'), tonumber(known[5] or '1')
local last_time, last_ends = tonumber(known[3] or '0'), tonumber(known[4] or '0')
local time = math.max(now(), last_time)
local ends = math.max(last_ends, time + ARGV[3])
local function find(ago)
  local looked, highest = 0, '+'
  while looked < MAX_SCAN do
    local lowest = decimal(oldest) .. '-0'
    local batch = redis.call('XREVRANGE', KEYS[1], highest, lowest, 'COUNT', BATCH)
    for _, entry in ipairs(batch) do
      if tonumber(entry[2][4]) <= time then
        return last > looked and {'inconclusive'}
      end
      if tonumber(entry[2][2]) < time - ago then
        return nil
      end
      if entry[2][6] == ARGV[2] then
        return {'repeated', known[1], string.match(entry[1], '^%d+')}
      end
      looked = looked + 1
      highest = '(' .. entry[1]
    end
    if #batch < BATCH then
      break
    end
  end
  return last > looked and {'inconclusive'}
end
local found = known[1] and ARGV[8] ~= '' and find(tonumber(ARGV[8]))
if found then
  return found
end
local epoch = known[1] or decimal(time)
local offset, before = last + 1, tonumber(known[6] or '0')
local message = string.sub(ARGV[1], 1, 13) .. struct.pack('<I8I8', tonumber(epoch), offset)
  .. string.sub(ARGV[1], 30)
local bytes, room = before + #message, tonumber(ARGV[5])
if not known[1] then
  -- What is left of a history whose hash was evicted has offsets that would be in the way.
  redis.call('DEL', KEYS[1])
end
local began = redis.call('XLEN', KEYS[1]) == 0
if began then
  oldest = offset
end
oldest = math.max(oldest, offset + 1 - ARGV[4])
local full, counted = bytes - tonumber(known[8] or '0') > room, nil
if full or began or time >= tonumber(known[9]) then
  -- The oldest to keep, which most often is one of the first; the new one is always kept.
  local low, high, step = oldest, offset, 1
  if full then
    low = math.max(oldest, tonumber(known[7] or '0') + 1)
  end
  while low < high do
    local middle = math.min(low + step - 1, math.floor((low + high) / 2))
    local id = decimal(middle) .. '-0'
    local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
    local sum = entry and tonumber(entry[2][10])
    if sum and bytes - sum <= room and tonumber(entry[2][4]) > time then
      high, before = middle, sum
    else
      low, step = middle + 1, step * 2
    end
  end
  oldest, counted = low, decimal(low)
end
local number, at, til, first = decimal(offset), decimal(time), decimal(ends), decimal(oldest)
-- `~` drops whole nodes of the stream; who reads begins with `oldest`, whatever is before it.
redis.call('XADD', KEYS[1], 'MINID', '~', first, number .. '-0', 't', at, 'e', til, 'i', ARGV[2],
  'm', message, 'b', known[6] or '0')
redis.call('HSET', KEYS[2], 'epoch', epoch, 'last', number, 'mark', string.sub(ARGV[2], 13),
  'time', at, 'ends', til, 'oldest', first, 'bytes', decimal(bytes))
if counted then
  redis.call('HSET', KEYS[2], 'counted', counted, 'before', decimal(before),
    'look', decimal(time + ARGV[3] / 8))
end
if began or ends - last_ends > time - last_time
  or math.floor(time / SLACK) > math.floor(last_time / SLACK) then
  redis.call('PEXPIRE', KEYS[1], milliseconds(ends - time + SLACK))
  redis.call('PEXPIRE', KEYS[2], milliseconds(ends - time + SLACK + ARGV[9]))
end
return {'appended', epoch, number, decimal(redis.call(ARGV[6], ARGV[7], message))}
