#!lua
-- Has listeners told what happens from now on, for a while. Mirrors `QueueState::watch`.
-- KEYS     see library.lua
-- ARGV     none
-- returns  the number of the last batch
-- atomic   what happens after it is told, with the numbers behind that one
local WATCHED = 10000000
local time, queue = now(), read()
if queue.watched <= time then
  -- What happened meanwhile was not told: who listened before finds that a number is missing.
  queue.batch = math.max(queue.batch + 1, time)
end
queue.watched = time + WATCHED
if queue.is_new then
  -- Nothing is to be remembered of a queue but that somebody listens.
  redis.call('DEL', KEYS[9])
  redis.call('SET', KEYS[1], packed(queue, 1), 'PX', milliseconds(WATCHED))
elseif queue.fading == 1 then
  redis.call('SET', KEYS[1], packed(queue, 1), 'KEEPTTL')
else
  write(queue)
end
return decimal(queue.batch)
