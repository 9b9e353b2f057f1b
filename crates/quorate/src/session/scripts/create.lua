#!lua
-- Makes a session, and room for it. Mirrors `Partition::create`.
-- KEYS[1]  the user's sessions: a hash of records by serial
-- KEYS[2]  their ends: a sorted set of serials (us)
-- ARGV[1]  serial
-- ARGV[2]  digest of its id
-- ARGV[3]  how long it outlives a use, us
-- ARGV[4]  how long it lives at most, us; 0 for as long as it is used
-- ARGV[5]  the most sessions that there may be, at most 1000
-- ARGV[6]  whose it is and the device, as they are stored
-- ARGV[7]  channel to tell on which sessions had to go
-- ARGV[8…] fields to set: verb, name, us to live or 0, value
-- returns  {now, ends, serial that had to go …}
-- atomic   of many who log in at once none may see room that another takes
local time = now()
local live = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. decimal(time), '+inf')
local over, evicted = #live + 1 - tonumber(ARGV[5]), {}
if over > 0 then
  local records, ages = redis.call('HMGET', KEYS[1], unpack(live)), {}
  for nth, serial in ipairs(live) do
    local created = records[nth] and select(2, struct.unpack('<BI8', records[nth])) or 0
    ages[nth] = {created, serial}
  end
  table.sort(ages, function(a, b)
    return a[1] < b[1] or a[1] == b[1] and a[2] < b[2]
  end)
  for nth = 1, over do
    evicted[nth] = ages[nth][2]
  end
end
local absolute = tonumber(ARGV[4])
local head = {1, time, time, 0, tonumber(ARGV[3]), absolute > 0 and time + absolute or 0, 0, 0, ARGV[2],
  string.rep('\0', 32)}
head[4] = ending(head, time)
local found = {}
apply(found, 8, time)
local rest = struct.pack('<I4c0', #ARGV[6], ARGV[6]) .. (joined(found))
tell(ARGV[7], 'evicted', evicted)
sweep(time)
remove(evicted)
keep(ARGV[1], head, rest, time)
return {decimal(time), decimal(head[4]), unpack(evicted)}
