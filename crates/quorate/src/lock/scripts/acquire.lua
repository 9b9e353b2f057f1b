#!lua
-- Takes a lock if it is free. Mirrors `LockState::acquire`.
-- KEYS[1]  the lock: a hash of lease, ends (us), last (token), released
-- ARGV[1]  lease id
-- ARGV[2]  length of the lease, us
-- ARGV[3]  how long the hash outlives the lease, us
-- returns  {1, token} if it is now held, {0, us left} if another lease holds it; numbers as strings
-- atomic   the look at the holder, the new token and the new holder are one decision
local state = redis.call('HMGET', KEYS[1], 'lease', 'ends', 'last')
local time = now()
local ends = tonumber(state[2] or '0')
local last = tonumber(state[3] or '0')
if state[1] and ends > time then
  if state[1] ~= ARGV[1] then
    return {'0', decimal(ends - time)}
  end
else
  last = math.max(last + 1, time)
end
ends = time + tonumber(ARGV[2])
redis.call('HSET', KEYS[1], 'lease', ARGV[1], 'ends', decimal(ends), 'last', decimal(last))
redis.call('PEXPIRE', KEYS[1], milliseconds(ARGV[2] + ARGV[3]))
return {'1', decimal(last)}
