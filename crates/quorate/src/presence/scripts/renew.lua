#!lua flags=allow-oom
-- Lets the lease of an instance end later. Mirrors `RosterState::renew`.
-- KEYS[1]  the roster: a hash of epoch, version and, per instance, at:<instance>, of:<instance>
-- KEYS[2]  leases: a sorted set of instances by the end of their lease (us)
-- KEYS[3]  the instance's members: a hash of infos by id
-- ARGV[1]  instance
-- ARGV[2]  length of the lease from now, us
-- ARGV[3]  how long the roster outlives the lease, us
-- returns  {epoch, version, at, at before, members, next instance to end, us left}; at is '' if the instance
--          is not on the roster or its lease has ended, the last two are '' if there is no other instance
-- atomic   a lease that has ended must not be revived: others may have removed it
if before == '' or redis.call('EXISTS', KEYS[3]) == 0 then
  return standing('', 0)
end
redis.call('ZADD', KEYS[2], decimal(time + tonumber(ARGV[2])), instance)
for i = 1, 3 do
  redis.call('PEXPIRE', KEYS[i], milliseconds(ARGV[2] + ARGV[3]))
end
return standing(before, head[4])
