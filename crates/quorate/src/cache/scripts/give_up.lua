#!lua flags=allow-oom
-- Gives up a load. Mirrors `Slot::give_up`.
-- KEYS[1]  the lease of who loads: a string, <id>:<birth>:<generation>
-- ARGV[1]  id of the load
-- ARGV[2]  where the end of a load is announced
-- returns  1 if it held the lease, 0 if not
-- atomic   the look at the lease and its end are one decision
if string.match(redis.call('GET', KEYS[1]) or '', '^(%d+):') ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1])
redis.call('SPUBLISH', ARGV[2], '')
return 1
