#!lua flags=no-writes
-- A queue in numbers. Mirrors `QueueState::stats`.
-- KEYS     see library.lua, unique.lua and outbox.lua
-- ARGV     none
-- returns  numbers as text: ready, due, active, ended, dead, idle workers, 1 if it is paused; us since the next was queued and
--          until one is due (-1: there is none); pushed, succeeded, failed, dead, cancelled, expired, deferred; open groups, what
--          is to be brought elsewhere, us since the next of that could be (-1: there is none); how many are limited; and the
--          id of the last that is ready, empty if there is none
-- atomic   a job is in one place, and is counted once
local time, queue, waited = now(), read(), -1
local next = redis.call('ZRANGE', KEYS[3], 0, 0)[1]
local job = next and redis.call('HGET', KEYS[2], next)
if job then
  waited = math.max(time - head(job), 0)
end
local unbrought = queue.effects > 0 and first(KEYS[18])
local due, ends, later = first_due(), queue.ends, '(' .. decimal(time)
local limited = redis.call('ZCOUNT', KEYS[4], decimal(FIRST_ASIDE), '+inf')
local pushed = redis.call('HLEN', KEYS[2]) + ends.S + ends.C + ends.E + queue.gone
local all = {redis.call('ZCARD', KEYS[3]), redis.call('ZCARD', KEYS[4]) - limited, redis.call('ZCARD', KEYS[5]),
  redis.call('ZCOUNT', KEYS[6], later, '+inf'), redis.call('ZCOUNT', KEYS[13], later, '+inf'),
  redis.call('ZCOUNT', KEYS[10], later, '+inf'), queue.paused, waited, due and math.max(due - time, 0) or -1, pushed, ends.S,
  queue.failed, ends.D, ends.C, ends.E, queue.deferred, redis.call('ZCARD', KEYS[19]), queue.effects,
  unbrought and unbrought <= time and time - unbrought or -1, limited}
for nth, number in ipairs(all) do
  all[nth] = decimal(number)
end
all[#all + 1] = redis.call('ZRANGE', KEYS[3], -1, -1)[1] or ''
return all
