#!lua flags=no-writes
-- Whether a task is in progress. Mirrors `Execution::is_task_in_progress`.
-- KEYS[1]  the execution: a hash of itself and its tasks
-- KEYS[2]  its results: a hash by task
-- ARGV[1]  task
-- returns  1 or 0
-- atomic   the execution and the task are seen at one moment
local time = now()
return running(time) and in_progress(read(ARGV[1]), time) and 1 or 0
