#!lua flags=no-writes
-- How many slots are taken. Mirrors `Slots::taken`.
-- KEYS[1]  the slots that are taken; see enter.lua
-- ARGV     none
-- returns  how many
-- atomic   the time and the count are of one moment
return redis.call('ZCOUNT', KEYS[1], '(' .. decimal(now()), '+inf')
