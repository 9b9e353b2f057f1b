#!lua flags=allow-oom
-- Takes the vote back from an attempt and those before it. Mirrors `VoteState::withdraw`.
-- KEYS[1]  the lock: see library.lua
-- ARGV[1]  lease id
-- ARGV[2]  number of the attempt; EVERY_ATTEMPT for all, also those to come
-- returns  1 if the lease had the vote, or, of all attempts, was the last to give it back; 0 if neither
-- atomic   the vote of a later attempt is never taken
local lease, number, time = ARGV[1], tonumber(ARGV[2]), now()
local vote = read(time)
local had = vote.lease == lease and vote.number <= number
if had then
  take()
end
if number < EVERY_ATTEMPT then
  return had and 1 or 0
end
if had then
  write(time, nil, 'released', lease)
elseif vote.released ~= lease then
  write(time, vote.ends, 'over', lease)
end
return (had or vote.released == lease) and 1 or 0
