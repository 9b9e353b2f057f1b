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
-- returns  {'acquired', token}, {'held', us left}, {'queued', how many are in front, us left, last token} or {'full'};
--          numbers as text
-- atomic   who holds it, whose turn it is, the new token and the new holder are one decision
local lease, length, channel, time = ARGV[1], tonumber(ARGV[2]), ARGV[8], now()
local lock, entry = read(lease, time)
local head, granted = settle(lock, time, channel, lease)
entry = granted or entry
local ends, token = string.match(entry or '', '^(%d+) %d+ (%d+)')
if ends and tonumber(ends) > time then
  extend(lock, lease, length, entry, channel, time)
  write(lock, time)
  return {'acquired', token}
end
local who = {weight = tonumber(ARGV[3]), capacity = tonumber(ARGV[4]), again = ARGV[5], owner = ARGV[6]}
if admits(lock, who) and (not head or head == lease or who.others) then
  token = token_of(lock, who, time)
  if ARGV[9] == '1' then
    redis.call('SPUBLISH', channel, 'acquired ' .. token)
  end
  if head then
    leave_queue(lease)
  end
  enter(lock, lease, who, token, length, time)
  write(lock, time)
  return {'acquired', token}
end
if ARGV[7] == '0' then
  write(lock, time)
  if head and leave_queue(lease) then
    -- Somebody behind may fit where the one in front did not.
    settle(lock, time, channel, lease)
    write(lock, time)
  end
  return {'held', remaining(lock, time)}
end
local place, since = redis.call('ZRANK', KEYS[2], lease), decimal(time)
if place then
  local known = waiter(redis.call('HGET', KEYS[3], lease))
  since = known and known.since or since
else
  place = redis.call('ZCARD', KEYS[2])
  if place >= MOST_WAITERS then
    write(lock, time)
    return {'full'}
  end
  local last = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')[2]
  redis.call('ZADD', KEYS[2], decimal((last or 0) + 1), lease)
end
local entry = {ARGV[2], ARGV[3], ARGV[4], ARGV[5], since, ARGV[6]}
redis.call('HSET', KEYS[3], lease, table.concat(entry, ' '))
redis.call('ZADD', KEYS[4], decimal(time + HEARTBEAT), lease)
-- Who waits asks again long before that; it collects what those leave who are gone together.
for nth = 2, 4 do
  redis.call('PEXPIRE', KEYS[nth], milliseconds(20 * HEARTBEAT))
end
lock.written, lock.changed = time, true
write(lock, time)
return {'queued', decimal(place), remaining(lock, time), decimal(lock.last)}
