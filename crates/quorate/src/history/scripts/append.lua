#!lua
-- Keeps a message of a topic and announces it. Mirrors `Log::append`.
-- KEYS[1]  the messages: a stream with ids <offset>-0; fields t (us), e (its end, us), i (id), m (message)
-- KEYS[2]  what is known of them: a hash of epoch, last, mark, time (us), ends (us), bytes, and first:
--          when the oldest ends (us)
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
local MAX_TRIM, MAX_SCAN, BATCH = 128, 1024, 64
local known = redis.call('HMGET', KEYS[2], 'epoch', 'last', 'time', 'bytes', 'first', 'ends')
local epoch, last = tonumber(known[1] or '0'), tonumber(known[2] or '0')
local time = math.max(now(), tonumber(known[3] or '0'))
local length = redis.call('XLEN', KEYS[1])
local bytes, first = tonumber(known[4] or '0'), tonumber(known[5] or '0')
local ends = math.max(tonumber(known[6] or '0'), time + tonumber(ARGV[3]))
if length == 0 then
  bytes = 0
end
local function find(ago)
  local looked, highest = 0, '+'
  while looked < MAX_SCAN do
    local batch = redis.call('XREVRANGE', KEYS[1], highest, '-', 'COUNT', BATCH)
    for _, entry in ipairs(batch) do
      if tonumber(entry[2][4]) <= time then
        return last > looked and {'inconclusive'}
      end
      if tonumber(entry[2][2]) < time - ago then
        return nil
      end
      if entry[2][6] == ARGV[2] then
        return {'repeated', decimal(epoch), string.match(entry[1], '^%d+')}
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
local found = ARGV[8] ~= '' and find(tonumber(ARGV[8]))
if found then
  return found
end
if epoch == 0 then
  epoch = time
  -- What is left of a history whose hash was evicted has offsets that would be in the way.
  redis.call('DEL', KEYS[1])
  length, bytes = 0, 0
end
local offset = decimal(last + 1)
local message = string.sub(ARGV[1], 1, 13) .. struct.pack('<I8I8', epoch, last + 1)
  .. string.sub(ARGV[1], 30)
redis.call('XADD', KEYS[1], offset .. '-0', 't', decimal(time), 'e', decimal(ends),
  'i', ARGV[2], 'm', message)
length, bytes = length + 1, bytes + #message
if length == 1 then
  first = ends
end
local dropped = 0
local most, room = tonumber(ARGV[4]), tonumber(ARGV[5])
while dropped < MAX_TRIM and length > 1 and (length > most or bytes > room or first <= time) do
  -- The oldest, and the next one for its end.
  local pair = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 2)
  redis.call('XTRIM', KEYS[1], 'MINID', '=', pair[2][1])
  bytes, length, dropped = bytes - #pair[1][2][8], length - 1, dropped + 1
  first = tonumber(pair[2][2][4])
end
redis.call('HSET', KEYS[2], 'epoch', decimal(epoch), 'last', offset, 'mark', string.sub(ARGV[2], 13),
  'time', decimal(time), 'ends', decimal(ends), 'bytes', decimal(bytes), 'first', decimal(first))
redis.call('PEXPIRE', KEYS[1], milliseconds(ends - time))
redis.call('PEXPIRE', KEYS[2], milliseconds(ends - time + ARGV[9]))
return {'appended', decimal(epoch), offset, decimal(redis.call(ARGV[6], ARGV[7], message))}
