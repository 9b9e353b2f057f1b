#!lua
-- Counts a request with every policy, or with none of them. Mirrors `Tallies::take`. A template: see `template.rs`.
-- KEYS[1]  the key's state, a string of numbers: when something was last counted, until when it is blocked, until when it
--          is kept (us), three for each policy, and the requests of logs
-- ARGV[1]  the policies, as numbers: how long any of it lasts (us), and of each: limit, window (us), drained, token
-- ARGV[2]  cost
-- ARGV[3]  for how long a refusal blocks the key, us; left out if it does not
-- returns  numbers: the time (us), and of each policy what is left, when nothing counts (us from now), and how long to
--          wait (us), or -1 if it allows it; or the time, and how much longer the key is blocked (us)
-- atomic   the look at all policies, and the counting with all of them, are one decision
-- put state
local cost = tonumber(ARGV[2])
if blocked > time then
  -- put punish
  return struct.pack('<dd', time, blocked - time)
end
--each local waitN, leftN, resetN = -1, 0, 0
-- put advance
-- put wait
if not (LIST_OR(waitN >= 0)) then
  --log local first, gone, most = true, math.huge, 64
  --logs first, gone, most = first and bN == 0, math.min(gone, aN), math.max(most, limitN)
  -- put take
  newest = time
  -- put standing
  -- For longer than it counts, so that most requests need not move the end: that costs more than counting.
  local keep = math.max(LIST(resetN))
  local enough = time + keep <= kept
  if not enough then
    kept = time + 2 * keep
  end
  local state = struct.pack(STATE, newest, blocked, kept, LIST(aN, bN, cN))
  --plain if enough then
  --plain   redis.call('SETRANGE', KEYS[1], 0, state)
  --plain else
  --plain   redis.call('SET', KEYS[1], state, 'PX', math.ceil((kept - time) / 1000))
  --plain end
  --log local request = struct.pack('<dd', time, cost)
  --log if first or gone >= most or not enough then
  --log   local rest = ''
  --log   if first then
  --log     gone = 0
  --logs    aN = 0
  --log   else
  --log     rest = redis.call('GETRANGE', KEYS[1], HEADER + gone * 16, -1)
  --logs    aN = aN - gone
  --log   end
  --log   state = struct.pack(STATE, newest, blocked, kept, LIST(aN, bN, cN))
  --log   redis.call('SET', KEYS[1], state .. rest .. request, 'PX', math.ceil((kept - time) / 1000))
  --log else
  --log   redis.call('SETRANGE', KEYS[1], 0, state)
  --log   redis.call('APPEND', KEYS[1], request)
  --log end
else
  -- put punish
  -- put standing
  if ARGV[3] then
    --each waitN = waitN >= 0 and math.max(waitN, blocked - time) or -1
  end
end
return struct.pack(REPLY, time, LIST(leftN, resetN, waitN))
