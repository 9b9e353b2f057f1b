#!lua
-- Ends everything in a partition that has one of some tags. Mirrors `Tags::invalidate`.
-- KEYS[1]  what is known of tags: a hash
-- ARGV     tags
-- returns  1
-- atomic   what is read afterwards was stored afterwards
local MANY, LOOKED_AT = 100000, 4
if redis.call('HLEN', KEYS[1]) > MANY then
  -- With a new birth everything with tags has ended.
  redis.call('DEL', KEYS[1])
end
local _, generation = known(KEYS[1])
local time = now()
for _, tag in ipairs(ARGV) do
  generation = generation + 1
  redis.call('HSET', KEYS[1], 't:' .. tag, decimal(generation) .. ':' .. decimal(time),
    'last', decimal(generation))
end
-- What a tag's invalidation could have ended is gone by itself after the longest time that anything is kept. A few
-- are looked at each time, and so all of them in the end.
local longest = tonumber(redis.call('HGET', KEYS[1], 'longest')) + 3600000000
local looked = redis.call('HRANDFIELD', KEYS[1], LOOKED_AT, 'WITHVALUES')
for at = 1, #looked, 2 do
  local when = string.match(looked[at + 1], ':(%d+)$')
  if when and string.sub(looked[at], 1, 2) == 't:' and tonumber(when) + longest < time then
    redis.call('HDEL', KEYS[1], looked[at])
  end
end
outlive(KEYS[1], 0)
return 1
