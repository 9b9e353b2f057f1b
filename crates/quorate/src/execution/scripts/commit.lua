#!lua
-- Ends a task with its result, unless it has one. Mirrors `Execution::commit`.
-- KEYS[1]  the execution: a hash of itself and its tasks
-- KEYS[2]  its results: a hash by task
-- ARGV[1]  task
-- ARGV[2]  id of the call
-- ARGV[3]  its result
-- ARGV[4]  the most tasks of an execution
-- ARGV[5]  the most bytes of all results, with the ids of their tasks
-- returns  stored, done, unknown, full or large
-- atomic   a task is in progress or has a result, never both and never neither; and its first result stays
local time = now()
local found = running(time)
if not found then
  return 'unknown'
end
local task = read(ARGV[1])
if task and task.state == 'done' then
  refresh(found, time)
  return task.id == ARGV[2] and 'stored' or 'done'
end
if not task and full(ARGV[4]) then
  return 'full'
end
local bytes = found.bytes + #ARGV[1] + #ARGV[3]
if bytes > tonumber(ARGV[5]) then
  return 'large'
end
write(ARGV[1], {state = 'done', attempt = task and task.attempt or 0, ends = 0, id = ARGV[2]})
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
found.bytes = bytes
keep(found, time)
return 'stored'
