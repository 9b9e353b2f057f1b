#!lua
-- Looks how long an entry is kept, or keeps it for so long from now. Mirrors `Slot::{remaining,expire}`.
-- KEYS[1]  the entry: a string
-- KEYS[2]  what is known of tags: a hash
-- ARGV[1]  ms from now to its end; 0 to leave it
-- returns  ms to its end, or -1 if there is none
-- atomic   the look at the entry, its end and how long it is fresh are one decision
local value = redis.call('GET', KEYS[1])
if not value or not alive(value, KEYS[2]) then
  return -1
end
local time = tonumber(ARGV[1])
if time > 0 then
  local stored, _, _, _, tags = head(value)
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
  if stored then
    -- How long it is fresh stands behind the time when it was stored. The time to its end stays.
    redis.call('SETRANGE', KEYS[1], 10, struct.pack('<I8', now() + time * 1000))
    if #tags > 0 then
      outlive(KEYS[2], time * 1000)
    end
  end
end
return redis.call('PTTL', KEYS[1])
