-- Put into every script: the policies, and what is remembered of the key. `time` does not run backwards, unless the
-- clock was set back by more than any of it lasts: then the key begins anew.
local longest, LIST(limitN, windowN, drainedN, tokenN) = struct.unpack(POLICIES, ARGV[1])
local time = now()
--plain local raw = redis.call('GET', KEYS[1])
--log local raw = redis.call('GETRANGE', KEYS[1], 0, HEADER - 1)
local newest, blocked, kept = 0, 0, 0
--each local aN, bN, cN = 0, 0, 0
if raw and raw ~= '' then
  newest, blocked, kept, LIST(aN, bN, cN) = struct.unpack(STATE, raw)
  if newest - time > longest then
    newest, kept = 0, 0
    --each aN, bN, cN = 0, 0, 0
  end
  time = math.max(time, newest)
end
--log -- put requests
--bucket -- put buckets
