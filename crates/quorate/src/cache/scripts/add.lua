#!lua
-- Adds to a counter. Mirrors `Slot::add`.
-- KEYS[1]  the entry: a string
-- KEYS[2]  what is known of tags: a hash
-- KEYS[3]  the lease of who loads it: a string
-- ARGV[1]  how much
-- ARGV[2]  how long a new one is kept, ms
-- ARGV[3]  where the end of a load is announced
-- returns  the counter in digits, or none, or overflow
-- atomic   the counter, its end and the end of a load are one step
local value = redis.call('GET', KEYS[1])
local dead = value and not alive(value, KEYS[2])
if value and not dead and head(value) then
  return 'none'
end
if dead then
  redis.call('DEL', KEYS[1])
end
local added = redis.pcall('INCRBY', KEYS[1], ARGV[1])
if type(added) == 'table' then
  return string.find(added.err, 'overflow', 1, true) and 'overflow' or 'none'
end
if not value or dead then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
if redis.call('DEL', KEYS[3]) == 1 then
  redis.call('SPUBLISH', ARGV[3], '')
end
-- Not what INCRBY said: Lua rounds numbers above 2^53.
return redis.call('GET', KEYS[1])
