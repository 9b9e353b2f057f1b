#!lua flags=no-writes
-- The sessions of a user. Mirrors `Partition::list`.
-- KEYS[1]  the user's sessions: a hash of records by serial
-- KEYS[2]  their ends: a sorted set of serials (us)
-- ARGV     none
-- returns  {now, serial, record …}, at most 1000
-- atomic   all are of one moment
local time = now()
local live = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. decimal(time), '+inf', 'LIMIT', 0, 1000)
local reply = {decimal(time)}
if #live > 0 then
  local records = redis.call('HMGET', KEYS[1], unpack(live))
  for nth, serial in ipairs(live) do
    if records[nth] then
      reply[#reply + 1] = serial
      reply[#reply + 1] = records[nth]
    end
  end
end
return reply
