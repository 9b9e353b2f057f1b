#!lua flags=no-writes
-- A job with all that is known of it. Mirrors `QueueState::inspect`.
-- KEYS     see library.lua
-- KEYS[17] the journal of the job
-- KEYS[18] its inbox
-- ARGV[1]  id of the job
-- returns  {where it is, as look.lua says; job; tries; progress; log; each of the last four may be nothing; how many entries its journal
--          has; how many messages its inbox}, or nothing
-- atomic   it may go from one place to the next meanwhile
local id, queue = ARGV[1], read()
local place = place_of(queue, id, now())
if not place then
  return false
end
local is_kept = place[1] == 'ended' and string.sub(place[2], 1, 1) ~= 'D'
return {place, not is_kept and redis.call('HGET', KEYS[2], id), not is_kept and redis.call('HGET', KEYS[8], id),
  redis.call('HGET', KEYS[16], id .. 'p'), redis.call('HGET', KEYS[16], id .. 'l'), redis.call('LLEN', KEYS[17]), redis.call('LLEN', KEYS[18])}
