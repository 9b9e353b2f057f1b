#!lua
-- Queues jobs, but those that are known and those whose keys others have. Mirrors `QueueState::push`.
-- KEYS     see library.lua and unique.lua
-- ARGV[1]  channel of the queue; it shares its hash tag
-- ARGV[2]  of each job, three: its id; in how long it is due, us; what HEAD of library.lua says of it but when it was queued,
--          its expiry counted from now, and what is behind that
-- returns  {a 1 for each that is new, a 0 for each that is known, a 2 for each whose key another has, as one text; ids of those}
-- atomic   whether a job is known, whether its key is free and that it is queued are one decision, and so are its rank and the
--          tag of its group
local channel, time, queue = ARGV[1], now(), read()
local new = {}
for nth = 2, #ARGV, 3 do
  new[#new + 1] = {ARGV[nth], tonumber(ARGV[nth + 1]), ARGV[nth + 2]}
end
if #new == 0 then
  return {'', {}}
end
local replies, same = queue_jobs(queue, new, time)
local before = queue.soonest and first(KEYS[4])
if #queue.ready > 0 or queue.soonest and (not before or queue.soonest <= before) then
  wake(queue, channel, time)
end
local is_changed, timed = queue.is_new or queue.fading == 1 or #queue.outdated > 0, queue.timed
if queue.is_new then
  redis.call('DEL', KEYS[9])
end
put_down(queue, time)
if is_changed or queue.timed ~= timed then
  write(queue)
end
return {table.concat(replies), same}
