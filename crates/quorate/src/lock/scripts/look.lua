#!lua flags=no-writes
-- A lock as it is. Mirrors `LockState::look`.
-- KEYS[1]  the lock, KEYS[2] its queue, KEYS[3] who they are, KEYS[4] until when they count: see library.lua
-- ARGV     none
-- returns  {now (us), holders, waiters, how many wait}: of a holder {ends, token, the public half of its lease, since,
--          weight, owner}, of the first waiters {weight, since, owner}; times in us
-- atomic   who holds it and who waits are of one moment
local time, held, waiting = now(), {}, {}
local function is_there(ends)
  return ends > time
end
for nth, entry in ipairs(holders(is_there)) do
  local ends, length, token, since, weight, _, owner = holder(entry[2])
  ends = math.min(ends, time + length)
  held[nth] = {ends, token, string.sub(entry[1], 3, 18), since, weight, owner}
end
for _, lease in ipairs(redis.call('ZRANGE', KEYS[2], 0, MOST_SHOWN - 1)) do
  local who, alive = waiter(redis.call('HGET', KEYS[3], lease)), redis.call('ZSCORE', KEYS[4], lease)
  if who and alive and tonumber(alive) > time then
    waiting[#waiting + 1] = {who.weight, who.since, who.owner}
  end
end
return {time, held, waiting, redis.call('ZCOUNT', KEYS[4], '(' .. decimal(time), '+inf')}
