#!lua flags=allow-oom
-- Settles what a consumer group handed out. Mirrors `Log::settle`.
-- KEYS[1]  what is known of the messages: a hash of time (us), ends (us)
-- KEYS[2]  the group: a hash of epoch, next, origin, pending: how many; or deleted
-- KEYS[3]  what is pending: a sorted set of offset, 16 digits, by when it is due (us)
-- KEYS[4]  what was handed out: a hash of offset: held (1 or 0), take (8 bytes), attempt, ':', missing
-- ARGV[1]  how long the group outlives the messages, us
-- ARGV[2]  1 if the reply to an earlier attempt was lost, or 0
-- ARGV[…]  for each delivery: offset, take id, then acknowledge, extend, retry or return, and us
-- returns  for each delivery 1 if it was changed, 0 if another take has had it since
-- atomic   who has a delivery and what becomes of it are one decision
local results = {}
if redis.call('HEXISTS', KEYS[2], 'epoch') == 0 then
  for _ = 3, #ARGV, 4 do
    results[#results + 1] = 0
  end
  return results
end
local known = redis.call('HMGET', KEYS[1], 'time', 'ends')
local time = math.max(now(), tonumber(known[1] or '0'))
local again = ARGV[2] == '1'
local function settle(member, take, verb, length)
  local delivery = redis.call('HGET', KEYS[4], member)
  if not delivery then
    -- By the attempt whose reply was lost, or by whoever had it later: it is done.
    return again and verb == 'acknowledge'
  end
  if string.sub(delivery, 2, 9) ~= take then
    return false
  end
  if string.sub(delivery, 1, 1) == '0' then
    -- Given back by this very delivery, and not handed out since: a repeat changes nothing.
    return verb == 'retry' or verb == 'return'
  end
  if verb == 'acknowledge' then
    redis.call('ZREM', KEYS[3], member)
    redis.call('HDEL', KEYS[4], member)
    -- Counted and not set: if a key was evicted, the next take is to see it.
    redis.call('HINCRBY', KEYS[2], 'pending', -1)
    return true
  end
  redis.call('ZADD', KEYS[3], decimal(time + length), member)
  if verb == 'retry' then
    redis.call('HSET', KEYS[4], member, '0' .. string.sub(delivery, 2))
  elseif verb == 'return' then
    local attempt, missing = string.match(string.sub(delivery, 10), '^(%d+):(.*)$')
    redis.call('HSET', KEYS[4], member, '0' .. take .. decimal(attempt - 1) .. ':' .. missing)
  end
  return true
end
for at = 3, #ARGV, 4 do
  local member = string.format('%016.0f', ARGV[at])
  local done = settle(member, ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3]))
  results[#results + 1] = done and 1 or 0
end
local lifetime = milliseconds(math.max(tonumber(known[2] or '0') - time, 0) + ARGV[1])
for key = 2, 4 do
  redis.call('PEXPIRE', KEYS[key], lifetime)
end
return results
