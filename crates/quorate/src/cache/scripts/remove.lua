#!lua flags=allow-oom
-- Removes an entry. Mirrors `Slot::remove`.
-- KEYS[1]  the entry: a string
-- KEYS[2]  what is known of tags: a hash
-- KEYS[3]  the lease of who loads it: a string
-- ARGV[1]  where the end of a load is announced
-- returns  1 if it was there, 0 if not
-- atomic   no load that began before keeps its value afterwards
local value = redis.call('GET', KEYS[1])
local there = value and alive(value, KEYS[2])
redis.call('DEL', KEYS[1])
if redis.call('DEL', KEYS[3]) == 1 then
  redis.call('SPUBLISH', ARGV[1], '')
end
return there and 1 or 0
