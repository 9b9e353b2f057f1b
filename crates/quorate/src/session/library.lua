-- Put in front of the scripts of sessions. KEYS[1] is the hash of a user's sessions by serial, KEYS[2] the sorted
-- set of their serials by end (us). Records are what `Record::encode` writes.
-- A head: 1 version, 2 created, 3 seen, 4 ends, 5 ttl, 6 absolute, 7 changes, 8 until, 9 digest, 10 the one
-- before, which is good until `until`; 11 where the rest begins. Times in us, 0 for none.
local HEAD = '<BI8I8I8I8I8I8I8c32c32'
local function read(serial)
  local record = redis.call('HGET', KEYS[1], serial)
  if record then
    return {struct.unpack(HEAD, record)}, record
  end
end
-- Whether a session is there, and meant by who has a digest, or need not have one.
local function answers(head, digest, time)
  return head and head[4] > time
    and (digest == '' or digest == head[9] or digest == head[10] and time < head[8])
end
local function ending(head, time)
  local ends = time + head[5]
  if head[6] > 0 and head[6] < ends then
    ends = head[6]
  end
  return ends
end
-- Fields that have not ended, from the place where they begin.
local function fields(record, at, time)
  local found = {}
  while at <= #record do
    local field = {struct.unpack('<I4c0I8I4c0', record, at)}
    if field[2] == 0 or field[2] > time then
      found[#found + 1] = field
    end
    at = field[4]
  end
  return found
end
-- Makes the changes that begin at ARGV[first]: verb, name, us to live or 0, value.
local function apply(found, first, time)
  local taken = {}
  for i = first, #ARGV, 4 do
    local name, held = ARGV[i + 1], false
    for nth = #found, 1, -1 do
      if found[nth][1] == name then
        held = table.remove(found, nth)[3]
      end
    end
    if ARGV[i] == 'set' then
      local ends = tonumber(ARGV[i + 2])
      found[#found + 1] = {name, ends > 0 and time + ends or 0, ARGV[i + 3]}
    elseif ARGV[i] == 'take' then
      taken[#taken + 1] = held
    end
  end
  return taken
end
local function joined(found)
  local parts, bytes = {}, 0
  for nth, field in ipairs(found) do
    bytes = bytes + #field[1] + #field[3]
    parts[nth] = struct.pack('<I4c0I8I4c0', #field[1], field[1], field[2], #field[3], field[3])
  end
  return table.concat(parts), bytes
end
-- Keeps a record, and what has to be there as long as it.
local function keep(serial, head, rest, time)
  redis.call('HSET', KEYS[1], serial, struct.pack(HEAD, unpack(head, 1, 10)) .. rest)
  redis.call('ZADD', KEYS[2], decimal(head[4]), serial)
  local left = milliseconds(head[4] - time)
  for i = 1, 2 do
    if redis.call('PTTL', KEYS[i]) < tonumber(left) then
      redis.call('PEXPIRE', KEYS[i], left)
    end
  end
end
local function remove(serials)
  if #serials > 0 then
    redis.call('HDEL', KEYS[1], unpack(serials))
    redis.call('ZREM', KEYS[2], unpack(serials))
  end
end
-- Some of what has ended goes whenever a session is made or used: more than one that is made adds.
local function sweep(time)
  remove(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', decimal(time), 'LIMIT', 0, 8))
end
-- To be called before the first write: it is what a user may lack permission for.
local function tell(channel, why, serials)
  if #serials > 0 then
    redis.call('SPUBLISH', channel, why .. ' ' .. table.concat(serials, ','))
  end
end
