#!lua
-- Gives a job that nobody has another input. Mirrors `QueueState::edit`.
-- KEYS     see library.lua
-- ARGV[1]  id of the job
-- ARGV[2]  the input
-- returns  1 if it has it, 0 if there is no such job that waits or is dead
-- atomic   nobody is delivered the job meanwhile
local id, time = ARGV[1], now()
local place, job = place_of(read(), id, time), redis.call('HGET', KEYS[2], id)
local is_dead = place and place[1] == 'ended' and string.sub(place[2], 1, 1) == 'D'
if not place or not job or not (place[1] == 'ready' or place[1] == 'due' or place[1] == 'limited' or is_dead) then
  return 0
end
local _, _, _, _, _, group, unique, member, at = head(job)
redis.call('HSET', KEYS[2], id, string.sub(job, 1, at + group + unique + member - 1) .. ARGV[2])
return 1
