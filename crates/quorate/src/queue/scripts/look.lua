#!lua flags=no-writes
-- Where a job is. Mirrors `QueueState::look`.
-- KEYS     see library.lua
-- ARGV[1]  id of the job
-- returns  {'ready'}, {'due', when, us}, {'limited', its rank as a score}, {'active', 1 if it was cancelled, else 0}, {'ended', what became of it}, or nothing
-- atomic   it may go from one place to the next meanwhile
return place_of(read(), ARGV[1], now())
