#!lua flags=no-writes
-- A lock as it is. Mirrors `LockState::look`.
-- KEYS[1]  the lock, KEYS[2] its queue, KEYS[3] who they are: see library.lua
-- ARGV     none
-- returns  {now (us), holders, waiters, how many wait}: of a holder {ends, token, since, weight, owner}, of the first
--          waiters {weight, since, owner}; numbers as text, times in us
-- atomic   who holds it and who waits are of one moment
local time, held, waiting = now(), {}, {}
local function is_there(ends)
  return ends > time
end
for nth, entry in ipairs(holders(is_there)) do
  local ends, token, since, weight, _, owner = string.match(entry[2], HOLDER)
  held[nth] = {ends, token, since, weight, owner}
end
for _, lease in ipairs(redis.call('ZRANGE', KEYS[2], 0, MOST_SHOWN - 1)) do
  local who = waiter(redis.call('HGET', KEYS[3], lease))
  if who and who.alive > time then
    waiting[#waiting + 1] = {decimal(who.weight), who.since, who.owner}
  end
end
return {decimal(time), held, waiting, decimal(redis.call('ZCARD', KEYS[2]))}
