#!lua flags=no-writes
-- Reads an entry. Mirrors `Slot::read`.
-- KEYS[1]  the entry: a string
-- KEYS[2]  what is known of tags: a hash
-- ARGV     none
-- returns  {the entry, now (us)}, or nothing
-- atomic   the entry and what became of its tags are of one moment
local value = redis.call('GET', KEYS[1])
if not value or not alive(value, KEYS[2]) then
  return nil
end
return {value, decimal(now())}
