#!lua flags=allow-oom
-- Lets a lease end later, or sooner. Mirrors `LockState::extend`.
-- KEYS[1]  the lock, KEYS[2] its queue, KEYS[3] who they are, KEYS[4] until when they count: see library.lua
-- ARGV[1]  lease id
-- ARGV[2]  length of the lease from now, us
-- ARGV[3]  channel of the lock; it shares its hash tag
-- returns  1 if the lease holds the lock, 0 if it does not
-- atomic   only a holder may move its end, and only before it has passed
local lease, channel, time = ARGV[1], ARGV[3], now()
local lock, entry = read(lease, time)
entry = settle(lock, time, channel, lease) or entry
if lock.refused then
  return answer(lock, time)
end
local held = entry and holder(entry) > time
if held then
  extend(lock, lease, tonumber(ARGV[2]), entry, channel, time)
end
return answer(lock, time, held and 1 or 0)
