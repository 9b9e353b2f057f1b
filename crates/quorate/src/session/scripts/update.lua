#!lua
-- Changes fields of a session. Mirrors `Partition::update`.
-- KEYS[1]  the user's sessions: a hash of records by serial
-- KEYS[2]  their ends: a sorted set of serials (us)
-- ARGV[1]  serial
-- ARGV[2]  digest of its id, or '' for who need not prove it
-- ARGV[3]  the most fields
-- ARGV[4]  the most bytes of their names and values
-- ARGV[5…] verb (set, remove or take), name, us to live or 0, value
-- returns  {done, how often fields were changed, value taken …}, {large} or {gone}
-- atomic   who changes another field at once must not lose it, and who removes the session removes it
local time = now()
local head, record = read(ARGV[1])
if not answers(head, ARGV[2], time) then
  return {'gone'}
end
local size, after = struct.unpack('<I4', record, head[11])
local found = fields(record, after + size, time)
local taken = apply(found, 5, time)
local rest, bytes = joined(found)
if #found > tonumber(ARGV[3]) or bytes > tonumber(ARGV[4]) then
  return {'large'}
end
head[7] = head[7] + 1
keep(ARGV[1], head, string.sub(record, head[11], after + size - 1) .. rest, time)
return {'done', decimal(head[7]), unpack(taken)}
