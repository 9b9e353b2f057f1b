#!lua flags=allow-oom
-- Forgets a key. Mirrors `Tallies::reset`. A template: see `template.rs`.
-- KEYS[1]  the key's state; see take.lua
-- ARGV[1]  the policies; see take.lua
-- returns  1 if anything of it counted or it was blocked, else 0
-- atomic   what is answered is what was forgotten
-- put state
--each local leftN, resetN = 0, 0
-- put advance
-- put standing
redis.call('DEL', KEYS[1])
return (blocked > time or LIST_OR(resetN > 0)) and 1 or 0
