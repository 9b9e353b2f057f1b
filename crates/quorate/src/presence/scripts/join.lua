#!lua
-- Puts members of an instance on a roster, or replaces their info. Mirrors `RosterState::join`.
-- KEYS[1]  the roster: a hash of epoch, version and, per instance, at:<instance>, of:<instance>
-- KEYS[2]  leases: a sorted set of instances by the end of their lease (us)
-- KEYS[3]  the instance's members: a hash of infos by id
-- ARGV[1]  instance
-- ARGV[2]  length of the lease from now, us
-- ARGV[3]  how long the roster outlives the lease, us
-- ARGV[4]  channel to announce changes on; it shares the roster's hash tag
-- ARGV[5…] id, info, id, info …: at most 256 members, each id once
-- returns  {epoch, version, at, at before, members, next instance to end, us left}; at is '' if the lease has
--          ended, and then nothing was changed; the last two are '' if there is no other instance
-- atomic   what is announced as version n + 1 must be what n was changed by, whoever else joins or leaves
-- A roster that is not there begins with an epoch of its own.
epoch = head[1] or decimal(time)
local present = before ~= ''
if head[1] and head[3] and ends and not present then
  return standing('', 0)
end
local held, of = {}, 0
if present then
  local ids = {}
  for i = 5, #ARGV, 2 do
    ids[#ids + 1] = ARGV[i]
  end
  held, of = redis.call('HMGET', KEYS[3], unpack(ids)), tonumber(head[4])
end
local news, changes = {}, {field(epoch), field(decimal(version)), field(instance)}
for i = 5, #ARGV, 2 do
  local known = held[(i - 3) / 2]
  if known ~= ARGV[i + 1] then
    news[#news + 1], news[#news + 2] = ARGV[i], ARGV[i + 1]
    changes[#changes + 1] = '+' .. field(ARGV[i]) .. field(ARGV[i + 1])
    version = version + 1
    if not known then
      of = of + 1
    end
  end
end
local at = head[3]
if #news > 0 then
  -- First, because it is what a user may lack permission for: then nothing has been written.
  redis.call('SPUBLISH', ARGV[4], table.concat(changes))
  if not present then
    -- What a roster that was lost in part left behind.
    redis.call('UNLINK', KEYS[3])
  end
  at = decimal(version)
  redis.call('HSET', KEYS[3], unpack(news))
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'version', at, 'at:' .. instance, at, 'of:' .. instance, decimal(of))
end
redis.call('ZADD', KEYS[2], decimal(time + tonumber(ARGV[2])), instance)
for i = 1, 3 do
  redis.call('PEXPIRE', KEYS[i], milliseconds(ARGV[2] + ARGV[3]))
end
return standing(at, of)
