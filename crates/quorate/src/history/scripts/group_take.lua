#!lua
-- Hands out what a consumer group has to do. Mirrors `Log::take`.
-- KEYS[1]  the messages: a stream with ids <offset>-0; fields t (us), e (its end, us), i (id), m (message),
--          b (bytes of all messages before it)
-- KEYS[2]  what is known of them: a hash of epoch, last, time (us), ends (us), oldest
-- KEYS[3]  the group: a hash of epoch, next, origin, pending: how many; or deleted
-- KEYS[4]  what is pending: a sorted set of offset, 16 digits, by when it is due (us)
-- KEYS[5]  what was handed out: a hash of offset: held (1 or 0), take (8 bytes), attempt, ':', missing
-- ARGV[1]  take id, 8 bytes
-- ARGV[2]  messages to hand out at most
-- ARGV[3]  bytes to hand out at most, but for the first
-- ARGV[4]  how long they are leased, us
-- ARGV[5]  how long ago the first attempt began, us; empty if this is it
-- ARGV[6]  how long the group outlives the messages, us
-- returns  {'deleted'}, or {'taken', epoch, us until there may be more or '', …} and for each delivery
--          offset, attempt, 'message', message, or offset, attempt, 'gone', how many or '?'
-- atomic   what is due, what is new and who has it from now on are one decision
local MAX_SCAN, BATCH = 1024, 16
local known = redis.call('HMGET', KEYS[2], 'epoch', 'last', 'time', 'ends', 'oldest')
local group = redis.call('HMGET', KEYS[3], 'epoch', 'next', 'origin', 'deleted',
  'pending')
if group[4] then
  return {'deleted'}
end
local time = math.max(now(), tonumber(known[3] or '0'))
local last, oldest = tonumber(known[2] or '0'), tonumber(known[5] or '1')
local most, room, visibility = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local leased = decimal(time + visibility)
-- The message with this offset, if it is kept: the stream may have more than that.
local function message(offset)
  local id = decimal(offset) .. '-0'
  local entry = offset >= oldest and redis.call('XRANGE', KEYS[1], id, id)[1]
  return entry and tonumber(entry[2][4]) > time and entry or nil
end
-- The first that is, which most often is one of the first.
local function kept_from()
  local low, high, step = oldest, last + 1, 1
  while low < high do
    local middle = math.min(low + step - 1, math.floor((low + high) / 2))
    if message(middle) then
      high = middle
    else
      low, step = middle + 1, step * 2
    end
  end
  return low
end

-- The place of the group in the history there is now.
local epoch, next, origin = group[1], tonumber(group[2] or '0'), group[3] == '1'
local function begin_after_a_gap(first)
  redis.call('UNLINK', KEYS[4], KEYS[5])
  next = first
  local member = string.format('%016.0f', next - 1)
  redis.call('ZADD', KEYS[4], decimal(time), member)
  redis.call('HSET', KEYS[5], member, '0' .. string.rep('\0', 8) .. '0:?')
end
if not epoch then
  epoch, origin = known[1] or decimal(time), not known[1]
  begin_after_a_gap(kept_from())
elseif known[1] and not origin and epoch ~= known[1] then
  epoch = known[1]
  begin_after_a_gap(kept_from())
else
  if known[1] and origin then
    epoch, origin = known[1], false
  end
  -- A server may evict one key and not the others: then it is not known what is pending.
  local pending, handed = redis.call('ZCARD', KEYS[4]), redis.call('HLEN', KEYS[5])
  if pending ~= handed or pending ~= tonumber(group[5]) then
    begin_after_a_gap(next)
  end
end

local reply = {'taken', epoch, ''}
local count, bytes, full = 0, 0, false
local function has_room(entry)
  local more = entry and #entry[2][8] or 0
  full = full or count > 0 and (count >= most or bytes + more > room)
  return not full
end
local function add(offset, attempt, missing, entry)
  local kind, content = 'gone', missing
  if missing == '' and entry then
    kind, content = 'message', entry[2][8]
    bytes = bytes + #content
  elseif missing == '' then
    -- It was there when it was handed out first.
    content = '1'
  end
  count = count + 1
  for _, part in ipairs({decimal(offset), decimal(attempt), kind, content}) do
    reply[#reply + 1] = part
  end
end
local function hand_out(member, attempt, missing)
  redis.call('ZADD', KEYS[4], leased, member)
  redis.call('HSET', KEYS[5], member, '1' .. ARGV[1] .. decimal(attempt) .. ':' .. missing)
end

-- What was handed out by this take when its reply was lost.
if ARGV[5] ~= '' then
  local earliest = decimal(math.max(time + visibility - ARGV[5], 0))
  local recent = redis.call('ZRANGEBYSCORE', KEYS[4], earliest, '+inf', 'LIMIT', 0, MAX_SCAN)
  for _, member in ipairs(recent) do
    local delivery = redis.call('HGET', KEYS[5], member)
    if string.sub(delivery, 1, 9) == '1' .. ARGV[1] then
      local attempt, missing = string.match(string.sub(delivery, 10), '^(%d+):(.*)$')
      add(tonumber(member), tonumber(attempt), missing, message(tonumber(member)))
    end
  end
end
if count == 0 then
  -- What is due.
  local due = redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', decimal(time), 'LIMIT', 0, most)
  for _, member in ipairs(due) do
    local entry = message(tonumber(member))
    if not has_room(entry) then
      break
    end
    local delivery = redis.call('HGET', KEYS[5], member)
    local attempt, missing = string.match(string.sub(delivery, 10), '^(%d+):(.*)$')
    hand_out(member, attempt + 1, missing)
    add(tonumber(member), attempt + 1, missing, entry)
  end
  -- What is new.
  local lost = epoch == known[1] and next <= last and not message(next)
  if lost and has_room(nil) then
    local first = kept_from()
    local missing = decimal(first - next)
    hand_out(string.format('%016.0f', first - 1), 1, missing)
    add(first - 1, 1, missing, nil)
    next, lost = first, false
  end
  while epoch == known[1] and not lost and not full and next <= last do
    local start = decimal(next) .. '-0'
    local batch = redis.call('XRANGE', KEYS[1], start, '+', 'COUNT', math.min(BATCH, most))
    for _, entry in ipairs(batch) do
      if not has_room(entry) then
        break
      end
      hand_out(string.format('%016.0f', next), 1, '')
      add(next, 1, '', entry)
      next = next + 1
    end
    if #batch == 0 then
      break
    end
  end
end
redis.call('HSET', KEYS[3], 'epoch', epoch, 'next', decimal(next), 'origin', origin and '1' or '0',
  'pending', decimal(redis.call('ZCARD', KEYS[4])))
local lifetime = milliseconds(math.max(tonumber(known[4] or '0') - time, 0) + ARGV[6])
for key = 3, 5 do
  redis.call('PEXPIRE', KEYS[key], lifetime)
end
if epoch == known[1] and next <= last then
  reply[3] = '0'
else
  local first = redis.call('ZRANGE', KEYS[4], 0, 0, 'WITHSCORES')
  if first[2] then
    reply[3] = decimal(math.max(first[2] - time, 0))
  end
end
return reply
