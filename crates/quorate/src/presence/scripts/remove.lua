#!lua flags=allow-oom
-- Takes everybody of an instance off a roster at once. Mirrors `RosterState::remove`.
-- KEYS[1]  the roster: a hash of epoch, version and, per instance, at:<instance>, of:<instance>
-- KEYS[2]  leases: a sorted set of instances by the end of their lease (us)
-- KEYS[3]  the instance's members: a hash of infos by id
-- ARGV[1]  instance
-- ARGV[2]  channel to announce changes on; it shares the roster's hash tag
-- ARGV[3]  1 to do so only if its lease has ended, 0 to do so in any case
-- returns  {epoch, version, at, at before, members, next instance to end, us left}; at is '' if the instance
--          is not on the roster (any more), the last two are '' if there is no other instance
-- atomic   between the look at the lease and the removal it may be renewed, or the instance join again
if ARGV[3] == '1' and ends and tonumber(ends) > time then
  return standing(before, head[4] or 0)
end
local of = tonumber(head[4] or '0')
if of > 0 then
  -- First, because it is what a user may lack permission for: then nothing has been written. One message
  -- however many there were: who watches knows them.
  redis.call('SPUBLISH', ARGV[2],
    field(epoch) .. field(decimal(version)) .. field(instance) .. 'x' .. field(decimal(of)))
  version = version + of
  redis.call('HSET', KEYS[1], 'version', decimal(version))
  redis.call('HDEL', KEYS[1], 'at:' .. instance, 'of:' .. instance)
end
redis.call('ZREM', KEYS[2], instance)
redis.call('UNLINK', KEYS[3])
return standing('', 0)
