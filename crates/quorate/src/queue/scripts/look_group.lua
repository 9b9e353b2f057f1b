#!lua
-- A group, and has its end announced if it comes soon and that is asked for. Mirrors `QueueState::look_group`.
-- KEYS[1]  what it counts and its values: see groups.lua
-- ARGV[1]  1 to have its end announced, 0 to look
-- ARGV[2]  for how long, us
-- returns  all fields of that; nothing if there is no such group
-- atomic   it does not end between the look and that its end is waited for
local head, time = redis.call('HGET', KEYS[1], 'h'), now()
if not head then
  return false
end
local _, until_when = struct.unpack('<dd', head)
if until_when > 0 and until_when <= time then
  return false
end
if ARGV[1] == '1' and until_when == 0 then
  redis.call('HSET', KEYS[1], 'a', decimal(time + ARGV[2]))
end
return redis.call('HGETALL', KEYS[1])
