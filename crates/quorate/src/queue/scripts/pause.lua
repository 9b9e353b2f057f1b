#!lua flags=allow-oom
-- Whether jobs are delivered. Mirrors `QueueState::pause`.
-- KEYS     see library.lua
-- ARGV[1]  1 if not, 0 if they are
-- ARGV[2]  channel of the queue; it shares its hash tag
-- returns  1
-- atomic   who is woken finds it so
local time, queue = now(), read()
queue.paused = tonumber(ARGV[1])
if redis.call('EXISTS', KEYS[3]) == 1 then
  wake(queue, ARGV[2], time)
end
if queue.paused == 0 and redis.call('EXISTS', KEYS[2], KEYS[7]) == 0 then
  fade(queue, time)
else
  write(queue)
end
return 1
