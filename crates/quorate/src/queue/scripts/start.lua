#!lua
-- Queues a job and delivers it at once to who pushes it, unless it is known, another has its key, it is due later, or the queue is paused.
-- Mirrors `QueueState::start`.
-- KEYS     see library.lua and unique.lua; the 17th, see outbox.lua
-- ARGV[1]  channel of the queue; it shares its hash tag
-- ARGV[2]  length of the lease, us
-- ARGV[3]  id of the job
-- ARGV[4]  what HEAD of library.lua says of it but when it was queued, its expiry counted from now, and what is behind that
-- ARGV[5]  in how long it is due, us
-- returns  us by this clock; 1 if it is new, 0 if it is known, 2 if another has its key, as text; who that is, if so; the delivery, if it is
--          delivered
-- atomic   that the job is new, that its key is free and that it is delivered is one decision: nobody else is delivered it meanwhile
local channel, id, time, queue = ARGV[1], ARGV[3], now(), read()
local begins = queue.paused == 0
local replies, same = queue_jobs(queue, {{id, tonumber(ARGV[5]), ARGV[4], begins}}, time)
put_down_pushed(queue, channel, time)
if queue.begun then
  redis.call('ZADD', KEYS[5], time + ARGV[2], queue.begun)
  write(queue)
end
return {decimal(time), replies[1], same[1] or false, queue.begun or false}
