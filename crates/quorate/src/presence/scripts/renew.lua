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
local time = now()
local instance = ARGV[1]
local head = redis.call('HMGET', KEYS[1], 'epoch', 'version', 'at:' .. instance, 'of:' .. instance)
local ends = redis.call('ZSCORE', KEYS[2], instance)
local epoch = head[1] or '0'
local version = tonumber(head[2] or '0')
local before = head[1] and head[3] and ends and tonumber(ends) > time and head[3] or ''
local function standing(at, of)
  local reply = {epoch, decimal(version), at, before, decimal(of), '', ''}
  local first = redis.call('ZRANGE', KEYS[2], 0, 1, 'WITHSCORES')
  for i = 1, #first, 2 do
    if first[i] ~= instance then
      reply[6], reply[7] = first[i], decimal(math.max(first[i + 1] - time, 0))
      break
    end
  end
  return reply
end
if before == '' or redis.call('EXISTS', KEYS[3]) == 0 then
  return standing('', 0)
end
redis.call('ZADD', KEYS[2], decimal(time + tonumber(ARGV[2])), instance)
for i = 1, 3 do
  redis.call('PEXPIRE', KEYS[i], milliseconds(ARGV[2] + ARGV[3]))
end
return standing(before, head[4])
