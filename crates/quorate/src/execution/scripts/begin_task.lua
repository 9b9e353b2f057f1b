#!lua
-- Lets a task begin, unless it is done or somebody else's. Mirrors `Execution::begin_task`.
-- KEYS[1]  the execution: a hash of itself and its tasks
-- KEYS[2]  its results: a hash by task
-- ARGV[1]  task
-- ARGV[2]  id of the call
-- ARGV[3]  how long it is in progress at most, us; 0 for until it is committed or abandoned
-- ARGV[4]  the most tasks of an execution
-- returns  {begun, attempt}, {in progress}, {done}, {unknown} or {full}
-- atomic   of many who begin it at once, one does; and none after its result is there
local time = now()
local found = running(time)
if not found then
  return {'unknown'}
end
local task, reply = read(ARGV[1]), nil
if not task and full(ARGV[4]) then
  return {'full'}
end
if task and task.state == 'done' then
  reply = {'done'}
elseif in_progress(task, time) then
  local again = task.id == ARGV[2]
  reply = again and {'begun', decimal(task.attempt)} or {'in progress'}
else
  local lease, attempt = tonumber(ARGV[3]), (task and task.attempt or 0) + 1
  write(ARGV[1], {state = 'begun', attempt = attempt, ends = lease > 0 and time + lease or 0, id = ARGV[2]})
  reply = {'begun', decimal(attempt)}
end
refresh(found, time)
return reply
