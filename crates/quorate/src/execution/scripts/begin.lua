#!lua
-- Lets an execution begin, unless it is there. Mirrors `Execution::begin`.
-- KEYS[1]  the execution: a hash of itself and its tasks
-- KEYS[2]  its results: a hash by task
-- ARGV[1]  id of the call
-- ARGV[2]  how long it outlives each sign of progress, us; 0 for until it is disposed of
-- returns  new, in progress or over
-- atomic   of many who begin it at once, one does
local time = now()
local found = execution(time)
if found and found.state == 'over' then
  return 'over'
end
if found then
  refresh(found, time)
  return found.id == ARGV[1] and 'new' or 'in progress'
end
redis.call('UNLINK', KEYS[1], KEYS[2])
keep({state = 'running', id = ARGV[1], ttl = tonumber(ARGV[2]), ends = 0, bytes = 0}, time)
return 'new'
