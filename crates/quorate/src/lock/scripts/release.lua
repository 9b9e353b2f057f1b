#!lua flags=allow-oom
-- Gives a lock back, or a place in its queue, and grants it to whose turn it is. Mirrors `LockState::release`.
-- KEYS[1]  the lock, KEYS[2] its queue, KEYS[3] who they are, KEYS[4] until when they count: see library.lua
-- ARGV[1]  lease id
-- ARGV[2]  channel of the lock; it shares its hash tag
-- ARGV[3]  1 if every release is announced, 0 if not
-- returns  1 if the lease held the lock, or was the last to give it back; 0 if neither
-- atomic   only a holder may free the lock, and nobody comes between it and whose turn it is
local lease, channel, time = ARGV[1], ARGV[2], now()
local lock, entry = read(lease, time)
local ends, _, token, since = 0
if entry then
  ends, _, token, since = holder(entry)
end
local held = ends > time
if held then
  if ARGV[3] == '1' then
    redis.call('SPUBLISH', channel, 'released ' .. decimal(token))
  end
  local held_for = time - since
  if held_for < 0 or held_for >= UNHEARD then
    redis.call('SPUBLISH', channel, 'ended ' .. string.sub(lease, 1, 16))
  end
  remove(lock, {{'h:' .. lease, entry}})
  put(lock, 'released', lease)
elseif lock.waiting > 0 then
  leave_queue(lock, lease)
end
settle(lock, time, channel)
local again = held or redis.call('HGET', KEYS[1], 'released') == lease
return answer(lock, time, again and 1 or 0)
