#!lua flags=allow-oom
-- Gives up a load, or ends whichever there is. Mirrors `Slot::{give_up,end_load}`.
-- KEYS[1]  the lease of who loads: a string, <id>:<birth>:<generation>; or how the last load failed: see fail.lua
-- ARGV[1]  id of the load; empty for whichever there is
-- ARGV[2]  where the end of a load is announced
-- returns  1 if it held the lease, 0 if not
-- atomic   the look at the lease and its end are one decision
local id = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+):')
if not id or (ARGV[1] ~= '' and ARGV[1] ~= id) then
  return 0
end
redis.call('DEL', KEYS[1])
redis.call('SPUBLISH', ARGV[2], '')
return 1
