#!lua
-- Refuses every request of a key for a time, or no longer. Mirrors `Tallies::block`. A template: see `template.rs`.
-- KEYS[1]  the key's state; see take.lua
-- ARGV[1]  for how long, us; 0 lifts it
-- returns  1
-- atomic   what is counted meanwhile is kept
local blocked = now() + tonumber(ARGV[1])
local keep = math.ceil(ARGV[1] / 1000)
if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('SETRANGE', KEYS[1], 8, struct.pack('<d', blocked))
  if keep > 0 then
    redis.call('PEXPIRE', KEYS[1], keep, 'GT')
  end
elseif keep > 0 then
  redis.call('SET', KEYS[1], struct.pack('<ddd', 0, blocked, 0) .. string.rep('\0', HEADER - 24), 'PX', keep)
end
return 1
