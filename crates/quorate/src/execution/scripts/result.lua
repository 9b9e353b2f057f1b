#!lua flags=no-writes
-- The result of a task. Mirrors `Execution::result`.
-- KEYS[1]  the execution: a hash of itself and its tasks
-- KEYS[2]  its results: a hash by task
-- ARGV[1]  task
-- returns  the result, or nothing
-- atomic   results of an execution that has ended are none
return running(now()) and redis.call('HGET', KEYS[2], ARGV[1])
