#!lua
-- Gives up a load that failed, remembers that, and reads the entry. Mirrors `Slot::fail`.
-- KEYS[1]  the entry: a string
-- KEYS[2]  what is known of tags: a hash
-- KEYS[3]  the lease of who loads it: a string, <id>:<birth>:<generation>; then, for as long as it matters, how it
--          failed: as an entry, fresh until nobody is told of it any more, whose value is until when it is not tried again
--          while there is an old value (us, 8 bytes), and the message
-- ARGV[1]  id of the load
-- ARGV[2]  how long it is not tried again while there is an old value, ms
-- ARGV[3]  how long whoever asks is told of it while there is no value, ms
-- ARGV[4]  the message
-- ARGV[5]  where the end of a load is announced
-- ARGV[6…] tags
-- returns  {the entry, now (us)}, or nothing
-- atomic   the look at the lease, its end and what is remembered are one decision
local value = redis.call('GET', KEYS[1])
if value and not alive(value, KEYS[2]) then
  value = false
end
local time = now()
local id, birth, generation =
  string.match(redis.call('GET', KEYS[3]) or '', '^(%d+):(%d+):(%d+)$')
if id == ARGV[1] then
  -- Nothing stands in for a value that is not there.
  local throttle, told = value and tonumber(ARGV[2]) or 0, tonumber(ARGV[3])
  if throttle > 0 or told > 0 then
    local parts = {struct.pack('<BBI8I8I4I8I8B', 193, 3, time, time + told * 1000, 0,
      tonumber(birth), tonumber(generation), #ARGV - 5)}
    for number = 6, #ARGV do
      parts[#parts + 1] = struct.pack('B', #ARGV[number]) .. ARGV[number]
    end
    if #ARGV > 5 then
      outlive(KEYS[2], told * 1000)
    end
    parts[#parts + 1] = struct.pack('<I8', time + throttle * 1000) .. ARGV[4]
    redis.call('SET', KEYS[3], table.concat(parts), 'PX', milliseconds(math.max(throttle, told) * 1000))
  else
    redis.call('DEL', KEYS[3])
  end
  redis.call('SPUBLISH', ARGV[5], '')
end
if not value then
  return nil
end
return {value, decimal(time)}
