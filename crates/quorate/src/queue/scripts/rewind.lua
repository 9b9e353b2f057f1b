#!lua
-- Makes a dead job ready again that remembers only the first entries of its journal. Mirrors `QueueState::rewind`.
-- KEYS      see library.lua and unique.lua
-- KEYS[17]  the journal of the job, a list
-- KEYS[18]  its inbox
-- ARGV[1]   channel of the queue; it shares its hash tag
-- ARGV[2]   id of the job
-- ARGV[3]   how many entries
-- returns   {1} if it is ready again, {0} if there is no such dead job, {0, how many} if its journal has fewer
-- atomic    nobody is delivered the job with entries that it is to forget
local channel, id, entries, time, queue = ARGV[1], ARGV[2], tonumber(ARGV[3]), now(), read()
local place = place_of(queue, id, time)
if not place or place[1] ~= 'ended' or string.sub(place[2], 1, 1) ~= 'D' then
  return {0}
end
local length = redis.call('LLEN', KEYS[17])
if length < entries then
  return {0, length}
end
if redrive(queue, {id}, channel, time) ~= '1' then
  return {0}
end
if entries == 0 then
  redis.call('UNLINK', KEYS[17])
elseif entries < length then
  redis.call('LTRIM', KEYS[17], 0, entries - 1)
end
return {1}
