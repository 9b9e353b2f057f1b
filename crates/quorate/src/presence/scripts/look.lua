#!lua flags=no-writes
-- Who is on a roster, without the members themselves. Mirrors `RosterState::look`.
-- KEYS[1]  the roster: a hash of epoch, version and, per instance, at:<instance>, of:<instance>
-- KEYS[2]  leases: a sorted set of instances by the end of their lease (us)
-- ARGV     none
-- returns  {epoch, version, instance, us left, members, instance …}; nothing left: the lease has ended
-- atomic   counts, leases and version are of one moment
local time = now()
local head, numbers = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #head, 2 do
  numbers[head[i]] = head[i + 1]
end
local reply = {numbers['epoch'] or '0', numbers['version'] or '0'}
local leases = redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES')
for i = 1, #leases, 2 do
  reply[#reply + 1] = leases[i]
  reply[#reply + 1] = decimal(math.max(leases[i + 1] - time, 0))
  reply[#reply + 1] = numbers['of:' .. leases[i]] or '0'
end
return reply
