#!lua flags=no-writes
-- Reads kept messages of a topic from a place on. Mirrors `Log::read`.
-- KEYS[1]  the messages: a stream with ids <offset>-0; fields t (us), e (its end, us), i (id), m (message),
--          b (bytes of all messages before it)
-- KEYS[2]  what is known of them: a hash of epoch, last, mark, time (us), oldest
-- ARGV[1]  beginning, after or latest
-- ARGV[2]  epoch of the position, or how many of the latest
-- ARGV[3]  offset of the position
-- ARGV[4]  mark of the position, 4 bytes
-- ARGV[5]  messages to return at most
-- ARGV[6]  bytes to return at most, but for the first
-- ARGV[7]  how long the hash outlives the messages, us
-- returns  {'lost', epoch, last, mark} or {'page', epoch, last, mark, offset of the first, message…}:
--          position of the newest message first
-- atomic   what is the newest, what is still there and the messages are one picture
local BATCH = 16
local from, offset = ARGV[1], tonumber(ARGV[3])
local known = redis.call('HMGET', KEYS[2], 'epoch', 'last', 'mark', 'time', 'oldest')
local time = math.max(now(), tonumber(known[4] or '0'))
local recent = from == 'after' and offset == 0 and ARGV[2] + ARGV[7] > time
if not known[1] then
  if from == 'after' and not recent then
    return {'lost', decimal(time), '0', '\0\0\0\0'}
  end
  return {'page', decimal(time), '0', '\0\0\0\0', '1'}
end
local epoch, last, oldest = known[1], tonumber(known[2]), tonumber(known[5])
local function lost()
  return {'lost', epoch, known[2], known[3]}
end
-- The message with this number, if it is kept: the stream may have more than that.
local function kept(number)
  local id = decimal(number) .. '-0'
  local entry = number >= oldest and redis.call('XRANGE', KEYS[1], id, id)[1]
  return entry and tonumber(entry[2][4]) > time and entry
end
local start
if from == 'after' then
  if offset == 0 then
    -- The beginning of this very history, or a look at none that is not too long ago.
    if ARGV[2] ~= epoch and not (recent and tonumber(ARGV[2]) <= tonumber(epoch)) then
      return lost()
    end
  else
    if ARGV[2] ~= epoch or offset > last then
      return lost()
    end
    local entry = offset < last and kept(offset)
    local mark = offset == last and known[3] or entry and string.sub(entry[2][6], 13)
    -- A mark of 0 is not known to who has the position.
    if mark and ARGV[4] ~= '\0\0\0\0' and mark ~= ARGV[4] then
      return lost()
    end
  end
  start = offset + 1
  if start <= last and not kept(start) then
    return lost()
  end
else
  -- The first that has not ended, which most often is one of the first: they end in the order of their
  -- offsets, which have no holes.
  local low, high, step = oldest, last + 1, 1
  if from == 'latest' then
    low = math.max(oldest, last + 1 - ARGV[2])
  end
  while low < high do
    local middle = math.min(low + step - 1, math.floor((low + high) / 2))
    if kept(middle) then
      high = middle
    else
      low, step = middle + 1, step * 2
    end
  end
  start = low
end
local reply = {'page', epoch, known[2], known[3], decimal(start)}
local bytes, most, room = 0, tonumber(ARGV[5]), tonumber(ARGV[6])
while start <= last and #reply - 5 < most do
  local count = math.min(BATCH, most - (#reply - 5))
  local batch = redis.call('XRANGE', KEYS[1], decimal(start) .. '-0', '+', 'COUNT', count)
  for _, entry in ipairs(batch) do
    local message = entry[2][8]
    bytes = bytes + #message
    if #reply > 5 and bytes > room then
      return reply
    end
    reply[#reply + 1] = message
  end
  if #batch < count then
    return reply
  end
  start = start + count
end
return reply
