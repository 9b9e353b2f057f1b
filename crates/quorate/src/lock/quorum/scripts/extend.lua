#!lua flags=allow-oom
-- Lets a lease that has the vote end later, or sooner. Mirrors `VoteState::extend`.
-- KEYS[1]  the lock: see library.lua
-- ARGV[1]  lease id
-- ARGV[2]  length of the lease from now, us
-- returns  its token as text, 0 if none is recorded; nil if the lease does not have the vote
-- atomic   only who has the vote may move its end, and only before it has passed
local time = now()
local vote = read(time)
if vote.lease ~= ARGV[1] then
  return false
end
local ends = time + tonumber(ARGV[2])
write(time, ends, 'number', decimal(EVERY_ATTEMPT), 'ends', decimal(ends))
return decimal(vote.token)
