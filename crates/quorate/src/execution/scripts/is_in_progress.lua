#!lua flags=no-writes
-- Whether an execution is in progress. Mirrors `Execution::is_in_progress`.
-- KEYS[1]  the execution: a hash of itself and its tasks
-- KEYS[2]  its results: a hash by task
-- ARGV     none
-- returns  1 or 0
-- atomic   whether it has ended is decided at the moment at which it is read
return running(now()) and 1 or 0
