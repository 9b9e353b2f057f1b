#!lua flags=no-writes
-- What `take` would answer, and nothing changes. Mirrors `Tallies::look`. A template: see `template.rs`.
-- KEYS[1]  the key's state; see take.lua
-- ARGV[1]  the policies; see take.lua
-- ARGV[2]  cost; 0 to ask how the key stands
-- returns  as take.lua
-- atomic   the answers of all policies are of one moment
-- put state
local cost = tonumber(ARGV[2])
if blocked > time then
  return struct.pack('<dd', time, blocked - time)
end
--each local waitN, leftN, resetN = -1, 0, 0
-- put advance
-- put wait
-- put standing
return struct.pack(REPLY, time, LIST(leftN, resetN, waitN))
