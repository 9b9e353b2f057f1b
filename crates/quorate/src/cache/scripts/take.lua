#!lua
-- Reads an entry, or says who is to load it. Mirrors `Slot::take`.
-- KEYS[1]  the entry: a string
-- KEYS[2]  what is known of tags: a hash
-- KEYS[3]  the lease of who loads it: a string, <id>:<birth>:<generation>; or how the last load failed: see fail.lua
-- ARGV[1]  id of the load
-- ARGV[2]  length of the lease, ms
-- ARGV[3]  value, early or anew: what it is asked for
-- ARGV[4]  with early: when what the asker saw was stored, us
-- returns  {fresh, throttled, failed, load or wait, now (us), the entry if there is one, or the message of the
--          failure, ms left of the lease}
-- atomic   the look at the entry and the new lease are one decision
local time, wish = now(), ARGV[3]
local value = redis.call('GET', KEYS[1])
if value and not alive(value, KEYS[2]) then
  value = false
end
local fresh, renewed = false, false
if value then
  local stored, ends = head(value)
  fresh = not stored or ends > time
  renewed = wish == 'early' and (stored or 0) ~= tonumber(ARGV[4])
end
if fresh and (wish == 'value' or renewed) then
  return {'fresh', decimal(time), value, 0}
end
local lease = redis.call('GET', KEYS[3])
local id, rest = string.match(lease or '', '^(%d+)(:.+)$')
if id and id ~= ARGV[1] then
  if fresh and wish == 'early' then
    return {'fresh', decimal(time), value, 0}
  end
  return {'wait', decimal(time), value, redis.call('PTTL', KEYS[3])}
end
if lease and not id and wish ~= 'anew' then
  local throttled, told, message = failure(lease)
  if value and throttled > time then
    return {fresh and 'fresh' or 'throttled', decimal(time), value, 0}
  end
  if not value and told > time and alive(lease, KEYS[2]) then
    return {'failed', decimal(time), message, 0}
  end
end
if not id then
  local birth, generation = known(KEYS[2])
  outlive(KEYS[2], 0)
  rest = ':' .. decimal(birth) .. ':' .. decimal(generation)
end
redis.call('SET', KEYS[3], ARGV[1] .. rest, 'PX', ARGV[2])
return {'load', decimal(time), value, 0}
