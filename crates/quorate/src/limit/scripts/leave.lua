#!lua flags=allow-oom
-- Gives a slot back. Mirrors `Slots::leave`.
-- KEYS[1]  the slots that are taken; see enter.lua
-- ARGV[1]  lease id
-- returns  1 if the lease had a slot, else 0
-- atomic   whether it had one is answered for the moment it is given back
local ends = redis.call('ZSCORE', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[1], ARGV[1])
return ends and tonumber(ends) > now() and 1 or 0
