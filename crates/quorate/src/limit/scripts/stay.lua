#!lua flags=allow-oom
-- Lets the lease of a slot end later, or sooner. Mirrors `Slots::stay`.
-- KEYS[1]  the slots that are taken; see enter.lua
-- ARGV[1]  lease id
-- ARGV[2]  length of the lease from now, us
-- returns  1 if the lease has a slot, else 0
-- atomic   only a lease that has not ended may be moved
local time = now()
local ends = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not ends or tonumber(ends) <= time then
  return 0
end
redis.call('ZADD', KEYS[1], decimal(time + ARGV[2]), ARGV[1])
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
redis.call('PEXPIRE', KEYS[1], milliseconds(last[2] - time))
return 1
