#!lua flags=allow-oom
-- Lets a lease end later, or sooner. Mirrors `LockState::extend`.
-- KEYS[1]  the lock: a hash of lease, ends (us), last (token), released
-- ARGV[1]  lease id
-- ARGV[2]  length of the lease from now, us
-- ARGV[3]  how long the hash outlives the lease, us
-- returns  1 if the lease holds the lock, 0 if it does not
-- atomic   only the holder may move the end, and only before it has passed
local state = redis.call('HMGET', KEYS[1], 'lease', 'ends')
local time = now()
if state[1] ~= ARGV[1] or tonumber(state[2]) <= time then
  return 0
end
redis.call('HSET', KEYS[1], 'ends', decimal(time + tonumber(ARGV[2])))
redis.call('PEXPIRE', KEYS[1], milliseconds(ARGV[2] + ARGV[3]))
return 1
