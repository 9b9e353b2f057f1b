#!lua
-- Lets a load go on. Mirrors `Slot::renew`.
-- KEYS[1]  the lease of who loads: a string, <id>:<birth>:<generation>
-- ARGV[1]  id of the load
-- ARGV[2]  length of the lease, ms
-- returns  1 if it still held the lease, 0 if not
-- atomic   the look at the lease and its new end are one decision: one that was ended stays so
if string.match(redis.call('GET', KEYS[1]) or '', '^(%d+):') ~= ARGV[1] then
  return 0
end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
