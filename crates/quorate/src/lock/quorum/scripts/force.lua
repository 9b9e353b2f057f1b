#!lua flags=allow-oom
-- Takes the vote away from who has it, for good. Mirrors `VoteState::force`.
-- KEYS[1]  the lock: see library.lua
-- ARGV[1]  token of the lease that is meant; '' for whichever
-- returns  its token as text, 0 if none is recorded; nil if nobody is meant
-- atomic   who is told to have lost it is who had it
local only, time = ARGV[1], now()
local vote = read(time)
if vote.lease and (only == '' or tonumber(only) == vote.token) then
  local token = decimal(vote.token)
  take()
  write(time, nil, 'over', vote.lease, 'forced', token)
  return token
end
return only ~= '' and vote.forced == only and only
