#!lua
-- Gives a session a new id. Mirrors `Partition::rotate`.
-- KEYS[1]  the user's sessions: a hash of records by serial
-- KEYS[2]  their ends: a sorted set of serials (us)
-- ARGV[1]  serial
-- ARGV[2]  digest of its id, or '' for who need not prove it
-- ARGV[3]  digest of the new id
-- ARGV[4]  how long the old one is good, us
-- returns  {done, now, ends}, {superseded} or {gone}
-- atomic   of two who rotate one id, one does
local time = now()
local head, record = read(ARGV[1])
if head and head[4] > time and head[9] == ARGV[3] then
  return {'done', decimal(time), decimal(head[4])} -- again
end
if not answers(head, ARGV[2], time) then
  return {'gone'}
end
if ARGV[2] ~= '' and ARGV[2] ~= head[9] then
  return {'superseded'}
end
head[10], head[8], head[9] = head[9], time + tonumber(ARGV[4]), ARGV[3]
keep(ARGV[1], head, string.sub(record, head[11]), time)
return {'done', decimal(time), decimal(head[4])}
