#!lua
-- Writes the token of an attempt that has the vote. Mirrors `VoteState::record`.
-- KEYS[1]  the lock: see library.lua
-- ARGV[1]  lease id
-- ARGV[2]  number of the attempt
-- ARGV[3]  token
-- returns  1 if it is written, 0 if the attempt does not have the vote or the token is not greater than all before it
-- atomic   a token is only written for who has the vote, and only after smaller ones
local token, time = tonumber(ARGV[3]), now()
local vote = read(time)
if vote.lease ~= ARGV[1] or vote.number ~= tonumber(ARGV[2]) then
  return 0
end
if vote.token == token then
  return 1
end
if token <= vote.last then
  return 0
end
write(time, vote.ends, 'token', decimal(token), 'last', decimal(token))
return 1
