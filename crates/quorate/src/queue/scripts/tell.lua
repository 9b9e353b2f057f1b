#!lua
-- Puts a message into the inbox of a job, unless that is over. Mirrors `QueueState::tell`.
-- KEYS      see library.lua
-- KEYS[17]  the journal of the job
-- KEYS[18]  its inbox, a list; of each message, when it came (a double, us), and itself
-- ARGV[1]   id of the job
-- ARGV[2]   channel of the queue; it shares its hash tag
-- ARGV[3]   how many messages there may be
-- ARGV[4]   the message
-- returns   where it is then, as look.lua says; full, if there are as many; or nothing
-- atomic    a job that waits, and has not seen the message, does not wait when it is there
local id, channel, time, queue = ARGV[1], ARGV[2], now(), read()
local place, job, checkpoint = place_of(queue, id, time), false, redis.call('HGET', KEYS[16], id .. 'c')
if not place or place[1] == 'ended' then
  return place
end
if redis.call('LLEN', KEYS[18]) >= tonumber(ARGV[3]) then
  return 'full'
end
if place[1] == 'active' then
  redis.call('SPUBLISH', channel, 'message ' .. hex(id))
elseif place[1] == 'due' and checkpoint and checkpoint ~= TOLD then
  -- It has begun.
  job = redis.call('HGET', KEYS[2], id)
end
if job then
  look_up_tags(queue, {job})
  make_ready(queue, id, job)
  wake(queue, channel, time)
  redis.call('ZREM', KEYS[4], id)
  put_down(queue, time)
  place = {'ready'}
end
redis.call('RPUSH', KEYS[18], struct.pack('<d', time) .. ARGV[4])
if not checkpoint then
  -- Its next delivery is to know that there is something to read.
  redis.call('HSET', KEYS[16], id .. 'c', TOLD)
  queue.noted = queue.noted + 1
end
if job or not checkpoint or queue.journaled == 0 then
  queue.journaled = 1
  write(queue)
end
return place
