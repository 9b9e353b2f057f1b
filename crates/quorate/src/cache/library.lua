-- Put in front of the cache's scripts, behind the prelude. An entry is the text of a counter, or
--   0xC1, 1 or 2 (see put.lua), stored (us), fresh until (us), cost (ms), birth (us), generation, number of tags,
--   each tag behind its length, and the value
-- and the hash of a partition's tags has
--   birth     when it was made (us): what was stored with another birth is of a hash that is gone
--   last      the newest generation
--   longest   the longest time that anything with tags is kept, us
--   t:<tag>   generation and time (us) of the tag's last invalidation
-- head(value)       stored, fresh until, birth, generation, tags, where the value begins; nothing for a counter
-- failure(value)    until when a load is not tried again, until when it is told of (us), its message; see fail.lua
-- alive(value, key) whether it may be read: whether no tag of it was invalidated since; key is the hash
-- known(key)        birth and newest generation of the hash, which is made if it is not there
-- touched(key, tags, generation) whether one of the tags was invalidated after this generation
-- outlive(key, us)  lets the hash live as long as anything that is kept for so long
local function head(value)
  if string.byte(value, 1) ~= 193 then
    return nil
  end
  local stored, fresh, cost, birth, generation, count, at =
    struct.unpack('<I8I8I4I8I8B', value, 3)
  local tags = {}
  for number = 1, count do
    tags[number], at = struct.unpack('Bc0', value, at)
  end
  return stored, fresh, birth, generation, tags, at
end
local function failure(value)
  local _, told, _, _, _, at = head(value)
  return struct.unpack('<I8', value, at), told, string.sub(value, at + 8)
end
local function touched(key, tags, generation)
  if #tags == 0 then
    return false
  end
  local fields = {}
  for number, tag in ipairs(tags) do
    fields[number] = 't:' .. tag
  end
  local found = redis.call('HMGET', key, unpack(fields))
  for number = 1, #fields do
    if found[number] and tonumber(string.match(found[number], '^%d+')) > generation then
      return true
    end
  end
  return false
end
local function alive(value, key)
  local stored, _, birth, generation, tags = head(value)
  if not stored or #tags == 0 then
    return true
  end
  return tonumber(redis.call('HGET', key, 'birth') or '0') == birth
    and not touched(key, tags, generation)
end
local function known(key)
  local found = redis.call('HMGET', key, 'birth', 'last')
  if found[1] then
    return tonumber(found[1]), tonumber(found[2])
  end
  local birth = now()
  redis.call('HSET', key, 'birth', decimal(birth), 'last', '0', 'longest', '0')
  redis.call('PEXPIRE', key, 3600000)
  return birth, 0
end
-- Lets the hash live as long as anything that needs it, and an hour: as long as any load.
local function outlive(key, keep)
  local longest = tonumber(redis.call('HGET', key, 'longest') or '0')
  if keep > longest then
    longest = keep
    redis.call('HSET', key, 'longest', decimal(longest))
  end
  -- Not each time: whoever has read by way of it would be told that it has changed.
  local needed = milliseconds(longest + 3600000000)
  if redis.call('PTTL', key) < tonumber(needed) then
    redis.call('PEXPIRE', key, decimal(2 * tonumber(needed)))
  end
end
