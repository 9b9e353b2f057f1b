#!lua flags=allow-oom
-- Lets a lease end later, or sooner. Mirrors `LockState::extend`.
-- KEYS[1]  the lock, KEYS[2] its queue, KEYS[3] who they are: see library.lua
-- ARGV[1]  lease id
-- ARGV[2]  length of the lease from now, us
-- ARGV[3]  channel of the lock; it shares its hash tag
-- returns  1 if the lease holds the lock, 0 if it does not
-- atomic   only a holder may move its end, and only before it has passed
local lease, time = ARGV[1], now()
local lock, entry = read(lease)
local _, granted = settle(lock, time, ARGV[3], lease)
local ends, rest = string.match(granted or entry or '', '^(%d+)( .*)$')
local held = ends and tonumber(ends) > time
if held then
  ends = time + tonumber(ARGV[2])
  let_end(lock, ends)
  put(lock, 'h:' .. lease, decimal(ends) .. rest)
end
write(lock, time)
return held and 1 or 0
