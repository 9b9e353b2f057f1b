#!lua
-- Takes a slot if one is free. Mirrors `Slots::enter`.
-- KEYS[1]  the slots that are taken: a sorted set of leases by when they end (us)
-- ARGV[1]  lease id
-- ARGV[2]  how many slots there are
-- ARGV[3]  length of the lease, us
-- returns  {1, slots left} if the lease has one, {0, us until the first lease ends} if all are taken; numbers as strings
-- atomic   the count of those that are taken, and the taking, are one decision
local time = now()
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', decimal(time))
local taken = redis.call('ZCARD', KEYS[1])
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  if taken >= tonumber(ARGV[2]) then
    local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
    return {'0', decimal(first[2] - time)}
  end
  taken = taken + 1
end
redis.call('ZADD', KEYS[1], decimal(time + ARGV[3]), ARGV[1])
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
redis.call('PEXPIRE', KEYS[1], milliseconds(last[2] - time))
return {'1', decimal(math.max(ARGV[2] - taken, 0))}
