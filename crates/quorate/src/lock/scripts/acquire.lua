#!lua
-- Takes a lock if it can be had and nobody is in front, or queues for it. Mirrors `LockState::acquire`.
-- KEYS[1]  the lock, KEYS[2] its queue, KEYS[3] who they are, KEYS[4] until when they count: see library.lua
-- ARGV[1]  lease id
-- ARGV[2]  length of the lease, us
-- ARGV[3]  weight
-- ARGV[4]  capacity
-- ARGV[5]  1 if holders with the same owner hold it together, 0 if not
-- ARGV[6]  owner
-- ARGV[7]  1 to queue, 0 not to, or no longer
-- ARGV[8]  channel of the lock; it shares its hash tag
-- ARGV[9]  1 if every acquisition is announced, 0 if only those of waiters are
-- returns  {'acquired', token}, {'held', us left}, {'queued', how many are in front, us left, last token} or {'full'}
-- atomic   who holds it, whose turn it is, the new token and the new holder are one decision
local lease, length, channel, time = ARGV[1], tonumber(ARGV[2]), ARGV[8], now()
local lock, entry = read(lease, time)
entry = settle(lock, time, channel, lease) or entry
if lock.refused then
  return answer(lock, time)
end
if entry and holder(entry) > time then
  extend(lock, lease, length, entry, channel, time)
  local _, _, token = holder(entry)
  return answer(lock, time, {'acquired', token})
end
local who = {weight = tonumber(ARGV[3]), capacity = tonumber(ARGV[4]), again = tonumber(ARGV[5]), owner = ARGV[6]}
if admits(lock, who) and (lock.waiting == 0 or who.others or first(lock) == lease) then
  local token = token_of(lock, who, time)
  if ARGV[9] == '1' then
    redis.call('SPUBLISH', channel, 'acquired ' .. decimal(token))
  end
  if lock.waiting > 0 and leave_queue(lock, lease) > 0 then
    -- Who is behind may fit as well; the next transition looks.
    lock.unheard = 0
  end
  enter(lock, lease, who, token, length, time)
  return answer(lock, time, {'acquired', token})
end
if ARGV[7] == '0' then
  if lock.waiting > 0 and leave_queue(lock, lease) > 0 then
    -- Somebody behind may fit where the one in front did not.
    settle(lock, time, channel)
  end
  return answer(lock, time, {'held', remaining(lock, time)})
end
if lock.waiting >= MOST_WAITERS and not redis.call('ZSCORE', KEYS[2], lease) then
  return answer(lock, time, {'full'})
end
if lock.waiting == 0 then
  lock.places, lock.unheard, lock.widest, lock.queued = 0, time + HEARTBEAT, 0, 0
end
local ahead, since = lock.waiting, time
local is_new = redis.call('ZADD', KEYS[2], 'NX', lock.places + 1, lease)
if is_new == 1 then
  lock.waiting, lock.places = lock.waiting + 1, lock.places + 1
else
  local known = waiter(redis.call('HGET', KEYS[3], lease))
  ahead, since = redis.call('ZRANK', KEYS[2], lease), known and known.since or time
end
lock.unheard, lock.widest = math.min(lock.unheard, time + HEARTBEAT), math.max(lock.widest, who.capacity)
entry = struct.pack(WAITER, length, who.weight, who.capacity, since, who.again) .. who.owner
if redis.call('HSET', KEYS[3], lease, entry) ~= is_new
  or redis.call('ZADD', KEYS[4], decimal(time + HEARTBEAT), lease) ~= is_new then
  -- One of them was evicted, and has come back without an expiry.
  redis.call('ZADD', KEYS[4], decimal(time + HEARTBEAT), lease)
  lock.waiting, lock.queued = redis.call('ZCARD', KEYS[2]), 0
end
-- Who waits asks again long before that; it collects what those leave who are gone together.
if lock.queued < time + 10 * HEARTBEAT then
  lock.queued = time + 20 * HEARTBEAT
  for nth = 2, 4 do
    redis.call('PEXPIRE', KEYS[nth], milliseconds(20 * HEARTBEAT))
  end
end
lock.written, lock.changed = time, true
return answer(lock, time, {'queued', ahead, remaining(lock, time), lock.last})
