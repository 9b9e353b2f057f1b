#!lua
-- Where a job is, and has its end announced if it comes soon. Mirrors `QueueState::look_and_wait`.
-- KEYS     see library.lua
-- ARGV[1]  id of the job
-- returns  {'ready'}, {'due', when, us}, {'limited', its rank as a score}, {'active', 1 if it was cancelled, else 0}, {'ended', what became of it}, or nothing
-- atomic   it does not end between the look and that its end is waited for
local id, time, queue = ARGV[1], now(), read()
local place = place_of(queue, id, time)
if place and place[1] ~= 'ended' then
  queue.awaited = math.max(queue.awaited, time + AWAITED)
  write(queue)
  redis.call('ZREMRANGEBYSCORE', KEYS[12], '-inf', decimal(time))
  redis.call('ZADD', KEYS[12], time + AWAITED, id)
  redis.call('PEXPIRE', KEYS[12], milliseconds(AWAITED))
end
return place
