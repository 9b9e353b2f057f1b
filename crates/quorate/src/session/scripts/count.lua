#!lua flags=no-writes
-- How many sessions a user has. Mirrors `Partition::count`.
-- KEYS[1]  the user's sessions: a hash of records by serial
-- KEYS[2]  their ends: a sorted set of serials (us)
-- ARGV     none
-- returns  the number
-- atomic   what has ended is decided by the same clock as elsewhere
return redis.call('ZCOUNT', KEYS[2], '(' .. decimal(now()), '+inf')
