#!lua
-- Keeps a value. Mirrors `Slot::put`.
-- KEYS[1]  the entry: a string
-- KEYS[2]  what is known of tags: a hash
-- KEYS[3]  the lease of who loads it: a string, <id>:<birth>:<generation>
-- ARGV[1]  always, absent or load
-- ARGV[2]  id of the load
-- ARGV[3]  how long it is fresh, ms
-- ARGV[4]  how long it is kept, ms
-- ARGV[5]  how long it took to load, ms
-- ARGV[6]  the value
-- ARGV[7]  where the end of a load is announced
-- ARGV[8]  2 if reads need to know the time, 1 if not
-- ARGV[9…] tags
-- returns  1 if it is kept, 0 if not
-- atomic   the look at the lease and at the tags, and the value, are one decision
local tags = {}
for number = 9, #ARGV do
  tags[number - 8] = ARGV[number]
end
local lease = redis.call('GET', KEYS[3])
if ARGV[1] == 'absent' then
  local value = redis.call('GET', KEYS[1])
  if value and alive(value, KEYS[2]) then
    return 0
  end
elseif ARGV[1] == 'load' then
  local id, birth, generation = string.match(lease or '', '^(%d+):(%d+):(%d+)$')
  if id ~= ARGV[2] then
    return 0
  end
  if #tags > 0 and (tonumber(birth) ~= known(KEYS[2])
    or touched(KEYS[2], tags, tonumber(generation))) then
    return 0
  end
end
local birth, generation = 0, 0
if #tags > 0 then
  birth, generation = known(KEYS[2])
  outlive(KEYS[2], ARGV[4] * 1000)
end
local time = now()
local parts = {struct.pack('<BBI8I8I4I8I8B', 193, tonumber(ARGV[8]), time, time + ARGV[3] * 1000,
  math.min(tonumber(ARGV[5]), 4294967295), birth, generation, #tags)}
for number, tag in ipairs(tags) do
  parts[number + 1] = struct.pack('B', #tag) .. tag
end
parts[#parts + 1] = ARGV[6]
redis.call('SET', KEYS[1], table.concat(parts), 'PX', ARGV[4])
if lease then
  redis.call('DEL', KEYS[3])
  redis.call('SPUBLISH', ARGV[7], '')
end
return 1
