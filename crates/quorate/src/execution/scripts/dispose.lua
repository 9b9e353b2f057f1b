#!lua flags=allow-oom
-- Forgets an execution but that it was there. Mirrors `Execution::dispose`.
-- KEYS[1]  the execution: a hash of itself and its tasks
-- KEYS[2]  its results: a hash by task
-- ARGV[1]  id of the call
-- ARGV[2]  how long to remember that it is over, us; 0 for not at all
-- returns  1 if it was in progress, 0 if not
-- atomic   nobody sees a part of it
local time = now()
local found = execution(time)
if not found then
  return 0
end
if found.state == 'over' then
  return found.id == ARGV[1] and 1 or 0
end
redis.call('UNLINK', KEYS[1], KEYS[2])
local remember = tonumber(ARGV[2])
if remember > 0 then
  keep({state = 'over', id = ARGV[1], ttl = 0, ends = time + remember, bytes = 0}, time)
  redis.call('PEXPIRE', KEYS[1], milliseconds(remember))
end
return 1
