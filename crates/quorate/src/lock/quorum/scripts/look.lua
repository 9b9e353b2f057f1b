#!lua flags=no-writes
-- Who has the vote. Mirrors `VoteState::look`.
-- KEYS[1]  the lock: see library.lua
-- ARGV     none
-- returns  nil, or {public half of the lease, token, owner, us it has it, us left}; numbers as text
-- atomic   all of it is of one moment
local time = now()
local vote = read(time)
if not vote.lease then
  return false
end
return {string.sub(vote.lease, 1, 16), decimal(vote.token), vote.owner, decimal(math.max(time - vote.since, 0)),
  decimal(vote.ends - time)}
