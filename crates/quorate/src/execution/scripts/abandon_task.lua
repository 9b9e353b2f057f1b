#!lua flags=allow-oom
-- Gives a task up. Mirrors `Execution::abandon_task`.
-- KEYS[1]  the execution: a hash of itself and its tasks
-- KEYS[2]  its results: a hash by task
-- ARGV[1]  task
-- ARGV[2]  how often it must have been begun, or '' if that does not matter
-- returns  1 if it was in progress, or if that attempt has no result; 0 if not
-- atomic   what somebody else has begun or committed meanwhile stays
local time = now()
local task = running(time) and read(ARGV[1])
if not task or task.state == 'done' then
  return 0
end
if ARGV[2] == '' and not in_progress(task, time) or ARGV[2] ~= '' and tonumber(ARGV[2]) ~= task.attempt then
  return 0
end
task.state, task.ends = 'abandoned', 0
write(ARGV[1], task)
return 1
