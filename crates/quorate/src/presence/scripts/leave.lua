#!lua flags=allow-oom
-- Takes members of an instance off a roster. Mirrors `RosterState::leave`.
-- KEYS[1]  the roster: a hash of epoch, version and, per instance, at:<instance>, of:<instance>
-- KEYS[2]  leases: a sorted set of instances by the end of their lease (us)
-- KEYS[3]  the instance's members: a hash of infos by id
-- ARGV[1]  instance
-- ARGV[2]  channel to announce changes on; it shares the roster's hash tag
-- ARGV[3…] ids: at most 256, each once
-- returns  {epoch, version, at, at before, members, next instance to end, us left}; at is '' if the instance
--          has no members (any more) or its lease has ended, the last two are '' if there is no other instance
-- atomic   what is announced as version n + 1 must be what n was changed by, whoever else joins or leaves
if before == '' then
  return standing('', 0)
end
local held = redis.call('HMGET', KEYS[3], unpack(ARGV, 3))
local gone, changes = {}, {field(epoch), field(decimal(version)), field(instance)}
for i = 3, #ARGV do
  if held[i - 2] then
    gone[#gone + 1] = ARGV[i]
    changes[#changes + 1] = '-' .. field(ARGV[i])
  end
end
if #gone == 0 then
  return standing(before, head[4])
end
-- First, because it is what a user may lack permission for: then nothing has been written.
redis.call('SPUBLISH', ARGV[2], table.concat(changes))
version = version + #gone
local at, of = decimal(version), head[4] - #gone
redis.call('HDEL', KEYS[3], unpack(gone))
if of > 0 then
  redis.call('HSET', KEYS[1], 'version', at, 'at:' .. instance, at, 'of:' .. instance, decimal(of))
  return standing(at, of)
end
redis.call('HSET', KEYS[1], 'version', at)
redis.call('HDEL', KEYS[1], 'at:' .. instance, 'of:' .. instance)
redis.call('ZREM', KEYS[2], instance)
return standing('', 0)
