-- Put in front of the scripts of votes. Mirrors `VoteState`, whose constants these are.
-- KEYS[1] is what this server knows of the lock: a hash of
--   last      the greatest token recorded
--   lease     who has the vote; with
--   number    by which attempt, token (0 until one is recorded), since (us), ends (us), owner
--   released  the last lease given back
--   over      the last lease that is over without having been given back here
--   forced    the last token taken away
local RETENTION, EVERY_ATTEMPT = 86400000000, 9007199254740991

-- What is there of it; no `lease` if that has ended.
local function read(time)
  local at = redis.call('HMGET', KEYS[1], 'last', 'lease', 'number', 'token', 'since', 'ends', 'owner', 'released', 'over',
    'forced')
  local vote = {last = tonumber(at[1] or 0), released = at[8], over = at[9], forced = at[10]}
  if at[2] and tonumber(at[6]) > time then
    vote.lease, vote.number, vote.token = at[2], tonumber(at[3]), tonumber(at[4])
    vote.since, vote.ends, vote.owner = tonumber(at[5]), tonumber(at[6]), at[7]
  end
  return vote
end

-- Writes these fields of it, and keeps it for long enough.
local function write(time, ends, ...)
  redis.call('HSET', KEYS[1], ...)
  redis.call('PEXPIRE', KEYS[1], milliseconds(math.max(ends or time, time) - time + RETENTION))
end

-- Takes the vote from who has it.
local function take()
  redis.call('HDEL', KEYS[1], 'lease', 'number', 'token', 'since', 'ends', 'owner')
end
