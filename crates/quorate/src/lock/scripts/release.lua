#!lua flags=allow-oom
-- Gives a lock back and announces it. Mirrors `LockState::release`.
-- KEYS[1]  the lock: a hash of lease, ends (us), last (token), released
-- ARGV[1]  lease id
-- ARGV[2]  channel to announce the release on; it shares the lock's hash tag
-- ARGV[3]  how long the hash outlives the lock, us
-- returns  1 if the lease held the lock, or was the last to give it back; 0 if neither
-- atomic   only the holder may free the lock, and waiters hear of it only once it is free
local state = redis.call('HMGET', KEYS[1], 'lease', 'ends', 'released')
if state[1] == ARGV[1] and tonumber(state[2]) > now() then
  -- First, because it is what a user may lack permission for: then nothing has been written. Whoever
  -- hears it can ask only after this script has ended, when the lock is free.
  redis.call('SPUBLISH', ARGV[2], '')
  redis.call('HDEL', KEYS[1], 'lease', 'ends')
  redis.call('HSET', KEYS[1], 'released', ARGV[1])
  redis.call('PEXPIRE', KEYS[1], milliseconds(ARGV[3]))
  return 1
end
return state[3] == ARGV[1] and 1 or 0
