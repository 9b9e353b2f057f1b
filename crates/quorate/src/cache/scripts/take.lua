#!lua
-- Reads an entry, or says who is to load it. Mirrors `Slot::take`.
-- KEYS[1]  the entry: a string
-- KEYS[2]  what is known of tags: a hash
-- KEYS[3]  the lease of who loads it: a string, <id>:<birth>:<generation>
-- ARGV[1]  id of the load
-- ARGV[2]  length of the lease, ms
-- returns  {fresh, load or wait, now (us), the entry if there is one, ms left of the lease}
-- atomic   the look at the entry and the new lease are one decision
local time = now()
local value = redis.call('GET', KEYS[1])
if value and not alive(value, KEYS[2]) then
  value = false
end
if value then
  local stored, fresh = head(value)
  if not stored or fresh > time then
    return {'fresh', decimal(time), value, 0}
  end
end
local lease = redis.call('GET', KEYS[3])
local id, rest = string.match(lease or '', '^(%d+)(:.+)$')
if id and id ~= ARGV[1] then
  return {'wait', decimal(time), value, redis.call('PTTL', KEYS[3])}
end
if not id then
  local birth, generation = known(KEYS[2])
  outlive(KEYS[2], 0)
  rest = ':' .. decimal(birth) .. ':' .. decimal(generation)
end
redis.call('SET', KEYS[3], ARGV[1] .. rest, 'PX', ARGV[2])
return {'load', decimal(time), value, 0}
