#!lua
-- Queues what a schedule says for a moment, if that is the next one and has come. Mirrors `QueueState::fire`.
-- KEYS     see library.lua, unique.lua and outbox.lua; behind those the last moments of the schedules, a hash by name
-- ARGV[1]  channel of the queue; it shares its hash tag
-- ARGV[2]  name of the schedule
-- ARGV[3]  the moment before it, us; empty: none
-- ARGV[4]  the moment, us; empty: now
-- ARGV[5]  how long schedules are remembered, ms
-- ARGV[6]  the job, if there is one, in three: its id; what NEW of library.lua says of it, and what is behind that; in how long it
--          is due, us
-- returns  us by this clock; and 'done', a 1 if it is new, a 0 if it is known, a 2 if another has its key, or nothing; who that is, or
--          nothing; 'other', the moment that was the last one, or nothing; or 'later', in how long, us
-- atomic   of all who fire a moment one does, and it is done if and only if the job is queued
local channel, schedule, after, schedules, time = ARGV[1], ARGV[2], ARGV[3], KEYS[#KEYS], now()
local moment = tonumber(ARGV[4]) or time
local last = redis.call('HGET', schedules, schedule)
if (last or '') ~= after then
  return {decimal(time), 'other', last}
end
if moment > time then
  return {decimal(time), 'later', decimal(moment - time)}
end
local reply, other, queue = false, false, read()
if ARGV[6] then
  local replies, same = queue_jobs(queue, {{ARGV[6], tonumber(ARGV[8]), ARGV[7]}}, time)
  reply, other = replies[1], same[1] or false
  put_down_pushed(queue, channel, time)
elseif queue.is_new then
  fade(queue, time)
end
redis.call('HSET', schedules, schedule, decimal(moment))
redis.call('PEXPIRE', schedules, ARGV[5])
return {decimal(time), 'done', reply, other}
