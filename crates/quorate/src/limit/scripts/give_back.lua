#!lua flags=allow-oom
-- Takes back what a request was counted with, as far as it still counts. Mirrors `Tallies::give_back`. A template: see
-- `template.rs`.
-- KEYS[1]  the key's state; see take.lua
-- ARGV[1]  the policies; see take.lua
-- ARGV[2]  what the request cost
-- ARGV[3]  when it was counted, us
-- returns  1 if anything was taken back, else 0
-- atomic   what no longer counts is not taken off what does
-- put state
if newest == 0 then
  return 0
end
local cost, at, given = tonumber(ARGV[2]), tonumber(ARGV[3]), 0
-- put advance
-- A request that no log counts any more is left as it is: the logs that have not let go of it yet still reckon with its cost.
--log local back = false
--logs back = back or at + windowN > time
--log back = back and taken_back(at, cost) or 0
-- put back
if given == 1 then
  redis.call('SETRANGE', KEYS[1], 0, struct.pack(STATE, newest, blocked, kept, LIST(aN, bN, cN)))
end
return given
