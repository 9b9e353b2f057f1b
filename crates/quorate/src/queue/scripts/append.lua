#!lua
-- Writes into the journals of jobs. Mirrors `QueueState::append`.
-- KEYS[1]  what the queue counts, a string: see NUMBERS in library.lua, without which this script is, since it is to cost little
-- KEYS[2]  deliveries by when their leases end
-- KEYS[3]  tries, a hash by id
-- KEYS[4]  what was noted, a hash by id and a letter: c checkpoint
-- KEYS[5]  and those behind it: a journal for each append, a list; of each entry, when it was written (a double, us), and itself
-- ARGV[1]  of each append, numbers of 4 bytes: how many entries are before these, how many these are
-- ARGV[2]  and those behind it: of each append its delivery; then, of each, the entries
-- returns  of each append a double, as one text: since when its entries are there, or LOST, or CONFLICT
-- atomic   who appends has the job, and no entry comes between those it knows and its own
local TRIED, NOTED, JOURNALED = 25, 57, 163
local LOST, CONFLICT, BEGUN, TOLD = '\0\0\0\0\0\0\0\0', '\0\0\0\0\0\0\240\191', 'null', '0'
local numbers, appends, time = redis.call('GET', KEYS[1]), #KEYS - 4, now()
if not numbers then
  -- It was evicted, and with it who has what.
  return string.rep(LOST, appends)
end
local ends = redis.call('ZMSCORE', KEYS[2], unpack(ARGV, 2, appends + 1))
-- Jobs with a first entry, and with failures to forget: rare, and a table costs as much as an entry.
local stamp, replies, begun, going_on = struct.pack('<d', time), {}, nil, nil
local has_tries = struct.unpack('<d', numbers, TRIED) > 0
local at, count, place, from, length = 0, 0, 1, appends + 2, 0
for nth = 1, appends do
  at, count, place = struct.unpack('<I4I4', ARGV[1], place)
  local key = KEYS[nth + 4]
  if not ends[nth] or tonumber(ends[nth]) <= time then
    replies[nth], length = LOST, -1
  elseif count == 1 then
    length = redis.call('RPUSH', key, stamp .. ARGV[from])
  else
    local entries = {}
    for one = 1, count do
      entries[one] = stamp .. ARGV[from + one - 1]
    end
    length = redis.call('RPUSH', key, unpack(entries))
  end
  if length == at + count then
    replies[nth] = stamp
    if at == 0 then
      begun = begun or {}
      begun[#begun + 1] = string.sub(ARGV[nth + 1], 9)
    end
    if has_tries then
      going_on = going_on or {}
      going_on[#going_on + 1] = string.sub(ARGV[nth + 1], 9)
    end
  elseif length >= 0 then
    -- So rare that looking before would cost more than taking it back. If these were there, the reply was lost: since when?
    redis.call('LTRIM', key, 0, -count - 1)
    local there = redis.call('LRANGE', key, at, at + count - 1)
    local is_same = #there == count
    for one = 1, #there do
      is_same = is_same and string.sub(there[one], 9) == ARGV[from + one - 1]
    end
    replies[nth] = is_same and string.sub(there[count], 1, 8) or CONFLICT
  end
  from = from + count
end

if begun or going_on then
  local before = numbers
  local function put(offset, packed)
    numbers = string.sub(numbers, 1, offset - 1) .. packed .. string.sub(numbers, offset + #packed)
  end
  local function add_to(offset, difference)
    put(offset, struct.pack('<d', struct.unpack('<d', numbers, offset) + difference))
  end
  if begun then
    local noted = 0
    for _, id in ipairs(begun) do
      local new = redis.call('HSETNX', KEYS[4], id .. 'c', BEGUN)
      noted = noted + new
      if new == 0 and redis.call('HGET', KEYS[4], id .. 'c') == TOLD then
        redis.call('HSET', KEYS[4], id .. 'c', BEGUN)
      end
    end
    add_to(NOTED, noted)
    put(JOURNALED, '\1')
  end
  if going_on then
    add_to(TRIED, -redis.call('HDEL', KEYS[3], unpack(going_on)))
  end
  if numbers ~= before then
    redis.call('SET', KEYS[1], numbers)
  end
end
return table.concat(replies)
