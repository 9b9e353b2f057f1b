#!lua flags=allow-oom
-- Removes a session, and tells of it. Mirrors `Partition::delete`.
-- KEYS[1]  the user's sessions: a hash of records by serial
-- KEYS[2]  their ends: a sorted set of serials (us)
-- ARGV[1]  serial
-- ARGV[2]  digest of its id, or '' for who need not prove it
-- ARGV[3]  how often its fields must have been changed, or '' if that does not matter
-- ARGV[4]  channel to tell it on
-- ARGV[5]  why
-- returns  done, changed or gone
-- atomic   only who proves the session, as it was read, removes it
local head = read(ARGV[1])
if not answers(head, ARGV[2], now()) then
  return 'gone'
end
if ARGV[3] ~= '' and tonumber(ARGV[3]) ~= head[7] then
  return 'changed'
end
tell(ARGV[4], ARGV[5], {ARGV[1]})
remove({ARGV[1]})
return 'done'
