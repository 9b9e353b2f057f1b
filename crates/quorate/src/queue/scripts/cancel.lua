#!lua flags=allow-oom
-- Lets a job end that nobody has, and asks whoever has it to stop. Mirrors `QueueState::cancel`.
-- KEYS     see library.lua, unique.lua, outbox.lua and limits.lua
-- ARGV[1]  id of the job
-- ARGV[2]  channel of the queue; it shares its hash tag
-- returns  where it is then: {'active', 1} or {'ended', what became of it}; nothing if there is no such job
-- atomic   nobody is delivered a job while it is decided that nobody has it
local id, channel, time, queue = ARGV[1], ARGV[2], now(), read()
local place = place_of(queue, id, time)
if not place or place[1] == 'ended' then
  return place
end
if place[1] == 'active' then
  redis.call('SPUBLISH', channel, 'cancelled ' .. hex(id))
  queue.cancelled = queue.cancelled + redis.call('SADD', KEYS[11], id)
  write(queue)
  return {'active', 1}
end
local job = redis.call('HGET', KEYS[2], id)
local _, keep = head(job)
finish(queue, id, 'C', keep, time, job)
announce_ends(queue, channel, time)
redis.call('ZREM', place[1] == 'ready' and KEYS[3] or KEYS[4], id)
if place[1] == 'limited' and job then
  drop_aside(queue, {aside_member(id, job, tonumber(place[2]))})
end
local effects = queue.effects
put_down(queue, time)
if queue.effects > effects then
  wake(queue, channel, time)
end
if queue.paused == 0 and is_empty() then
  fade(queue, time)
else
  write(queue)
end
return {'ended', 'C'}
