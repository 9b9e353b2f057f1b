#!lua
-- Gives this server's vote to a lease, or says why not. Mirrors `VoteState::vote`.
-- KEYS[1]  the lock: see library.lua
-- ARGV[1]  lease id
-- ARGV[2]  number of the attempt
-- ARGV[3]  length of the lease, us
-- ARGV[4]  for how long a server must have been up to vote, us
-- ARGV[5]  token that the lease has already; 0 if it has none
-- ARGV[6]  owner
-- returns  {server, 'given', floor, token}, {server, 'held', us left}, {server, 'silent', us left} or {server, 'refused'};
--          numbers as text
-- atomic   who has the vote, whether the server may know that, and the new lease are one decision
local lease, number, length, time = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), now()
local info = redis.call('INFO', 'server')
local server, up = string.match(info, 'run_id:(%x+)') or '', string.match(info, 'uptime_in_seconds:(%d+)')
if not up then
  return redis.error_reply('ERR INFO does not say for how long the server is up, so it cannot vote')
end
local vote = read(time)
if vote.released == lease or vote.over == lease then
  return {server, 'refused'}
end
if vote.lease and vote.lease ~= lease then
  return {server, 'held', decimal(vote.ends - time)}
end
if vote.lease then
  if number < vote.number then
    return {server, 'refused'}
  end
  write(time, time + length, 'number', decimal(number), 'ends', decimal(time + length))
  return {server, 'given', decimal(math.max(vote.last + 1, time)), decimal(vote.token)}
end
-- Both of the times that this is the difference of were rounded to seconds.
local short = tonumber(ARGV[4]) - math.max(up * 1000000 - 1000000, 0) - OFFSET
if short > 0 then
  return {server, 'silent', decimal(short)}
end
local token = tonumber(ARGV[5])
local last = math.max(vote.last, token)
write(time, time + length, 'lease', lease, 'number', decimal(number), 'token', decimal(token), 'since', decimal(time),
  'ends', decimal(time + length), 'owner', ARGV[6], 'last', decimal(last))
return {server, 'given', decimal(math.max(last + 1, time)), decimal(token)}
