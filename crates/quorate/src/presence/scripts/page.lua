#!lua flags=no-writes
-- Some members of some instances. Mirrors `RosterState::page`.
-- KEYS[1]  the roster: a hash of epoch, version and, per instance, at:<instance>, of:<instance>
-- KEYS[2]  leases: a sorted set of instances by the end of their lease (us)
-- KEYS[3…] the members of at most 64 instances: a hash of infos by id each
-- ARGV[1]  members to read, about
-- ARGV[2]  which of the hashes to go on with, from 0
-- ARGV[3]  the place in it, 0 at its beginning
-- returns  {epoch, version, 1 if a lease has ended, next hash or '', place in it, then per member: which hash
--          it is in, id, info}
-- atomic   the version is that of these members
local head = redis.call('HMGET', KEYS[1], 'epoch', 'version')
local ended = redis.call('ZCOUNT', KEYS[2], '-inf', decimal(now()))
local nth, place, found = tonumber(ARGV[2]), ARGV[3], 0
local reply = {head[1] or '0', head[2] or '0', ended > 0 and '1' or '0', '', ''}
while nth + 3 <= #KEYS and found < tonumber(ARGV[1]) do
  local scanned = redis.call('HSCAN', KEYS[nth + 3], place, 'COUNT', ARGV[1])
  place = scanned[1]
  for i = 1, #scanned[2], 2 do
    reply[#reply + 1] = decimal(nth)
    reply[#reply + 1] = scanned[2][i]
    reply[#reply + 1] = scanned[2][i + 1]
    found = found + 1
  end
  if place == '0' then
    nth = nth + 1
  end
end
if nth + 3 <= #KEYS then
  reply[4], reply[5] = decimal(nth), place
end
return reply
