#!lua flags=no-writes
-- All results of an execution. Mirrors `Execution::results`.
-- KEYS[1]  the execution: a hash of itself and its tasks
-- KEYS[2]  its results: a hash by task
-- ARGV     none
-- returns  {task, result …}, at most 10 000 of them and 64 MiB
-- atomic   all are of one moment
return running(now()) and redis.call('HGETALL', KEYS[2]) or {}
