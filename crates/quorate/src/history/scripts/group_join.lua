#!lua
-- Makes a consumer group unless there is one. Mirrors `Log::join`.
-- KEYS[1]  the messages: a stream with ids <offset>-0; fields t (us), e (its end, us), i (id), m (message),
--          b (bytes of all messages before it)
-- KEYS[2]  what is known of them: a hash of epoch, last, mark, time (us), ends (us), oldest
-- KEYS[3]  the group: a hash of epoch, next, origin, pending: how many; or deleted
-- KEYS[4]  what is pending: a sorted set of offset, 16 digits, by when it is due (us)
-- KEYS[5]  what was handed out: a hash of offset: held (1 or 0), take (8 bytes), attempt, ':', missing
-- ARGV[1]  beginning, after or latest
-- ARGV[2]  epoch of the position, or how many of the latest
-- ARGV[3]  offset of the position
-- ARGV[4]  mark of the position, 4 bytes
-- ARGV[5]  how long the group outlives the messages, us
-- returns  1 if there was none, 0 if there was one
-- atomic   where the history stands and where the group begins are one picture, and one begins it
local from, offset = ARGV[1], tonumber(ARGV[3])
local known = redis.call('HMGET', KEYS[2], 'epoch', 'last', 'mark', 'time', 'ends', 'oldest')
local time = math.max(now(), tonumber(known[4] or '0'))
local epoch, last = known[1], tonumber(known[2] or '0')
local lifetime = milliseconds(math.max(tonumber(known[5] or '0') - time, 0) + ARGV[5])
local function remember()
  for key = 3, 5 do
    redis.call('PEXPIRE', KEYS[key], lifetime)
  end
end
if redis.call('HEXISTS', KEYS[3], 'epoch') == 1 then
  remember()
  return 0
end
local oldest = tonumber(known[6] or '1')
-- The message with this number, if it is kept: the stream may have more than that.
local function kept(number)
  local id = decimal(number) .. '-0'
  local entry = number >= oldest and redis.call('XRANGE', KEYS[1], id, id)[1]
  return entry and tonumber(entry[2][4]) > time and entry
end
-- The first that has not ended, which most often is one of the first: they end in the order of their
-- offsets, which have no holes.
local low, high, step = oldest, last + 1, 1
while low < high do
  local middle = math.min(low + step - 1, math.floor((low + high) / 2))
  if kept(middle) then
    high = middle
  else
    low, step = middle + 1, step * 2
  end
end
local function follows()
  if offset == 0 then
    return ARGV[2] == epoch
      or ARGV[2] + ARGV[5] > time and (not epoch or tonumber(ARGV[2]) <= tonumber(epoch))
  end
  if ARGV[2] ~= epoch or offset > last then
    return false
  end
  local entry = offset < last and kept(offset)
  local mark = offset == last and known[3] or entry and string.sub(entry[2][6], 13)
  -- A mark of 0 is not known to who has the position.
  return not mark or ARGV[4] == '\0\0\0\0' or mark == ARGV[4]
end
local next, gap = low, false
if from == 'latest' then
  next = math.max(low, last + 1 - tonumber(ARGV[2]))
elseif from == 'after' then
  if follows() then
    next = offset + 1
  else
    gap = true
  end
end
redis.call('DEL', KEYS[3], KEYS[4], KEYS[5])
redis.call('HSET', KEYS[3], 'epoch', epoch or decimal(time), 'next', decimal(next),
  'origin', epoch and '0' or '1', 'pending', gap and '1' or '0')
if gap then
  local member = string.format('%016.0f', low - 1)
  redis.call('ZADD', KEYS[4], decimal(time), member)
  redis.call('HSET', KEYS[5], member, '0' .. string.rep('\0', 8) .. '0:?')
end
remember()
return 1
