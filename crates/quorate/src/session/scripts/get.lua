#!lua flags=no-writes
-- One session as it is. Mirrors `Partition::get`.
-- KEYS[1]  the user's sessions: a hash of records by serial
-- KEYS[2]  their ends: a sorted set of serials (us)
-- ARGV[1]  serial
-- ARGV[2]  digest of its id, or '' for who need not prove it
-- returns  {now, record}, or nothing
-- atomic   whether it has ended is decided at the moment at which it is read
local time = now()
local head, record = read(ARGV[1])
if answers(head, ARGV[2], time) then
  return {decimal(time), record}
end
return false
