#!lua
-- Writes into the journals of jobs. Mirrors `QueueState::append`.
-- KEYS[1]  what the queue counts, a string: see NUMBERS in library.lua, without which this script is, since it is to cost little
-- KEYS[2]  deliveries by when their leases end
-- KEYS[3]  tries, a hash by id
-- KEYS[4]  what was noted, a hash by id and a letter: c checkpoint
-- KEYS[5]  and those behind it: a journal for each append, a list; of each entry, when it was written (a double, us), and itself
-- ARGV     of each append its delivery; then, of each, how many entries are before these, how many these are, and they
-- returns  of each append a double, as one text: since when its entries are there, or LOST, or CONFLICT
-- atomic   who appends has the job, and no entry comes between those it knows and its own
local TRIED, NOTED, JOURNALED = 25, 57, 163
local LOST, CONFLICT, BEGUN = struct.pack('<d', 0), struct.pack('<d', -1), 'null'
local time, appends = now(), #KEYS - 4
local numbers, stamp = redis.call('GET', KEYS[1]), struct.pack('<d', time)
if not numbers then
  -- It was evicted, and with it who has what.
  return string.rep(LOST, appends)
end

local function put(at, packed)
  numbers = string.sub(numbers, 1, at - 1) .. packed .. string.sub(numbers, at + #packed)
end

local function add_to(at, difference)
  put(at, struct.pack('<d', struct.unpack('<d', numbers, at) + difference))
end

-- Whether these entries are there already, when the reply was lost: since when, or that others are.
local function compare(key, length, at, from, to)
  if length <= at + to - from then
    return CONFLICT
  end
  local there = redis.call('LRANGE', key, at, at + to - from)
  for nth, entry in ipairs(there) do
    if string.sub(entry, 9) ~= ARGV[from + nth - 1] then
      return CONFLICT
    end
  end
  return string.sub(there[#there], 1, 8)
end

local function write(key, from, to)
  if from == to then
    redis.call('RPUSH', key, stamp .. ARGV[from])
    return
  end
  local entries = {}
  for nth = from, to do
    entries[#entries + 1] = stamp .. ARGV[nth]
  end
  redis.call('RPUSH', key, unpack(entries))
end

-- What becomes of a job when there is more in its journal.
local function take_note(begun, going_on)
  local before = numbers
  if #begun > 0 and string.byte(numbers, JOURNALED) == 0 then
    put(JOURNALED, '\1')
  end
  local noted = 0
  for _, id in ipairs(begun) do
    noted = noted + redis.call('HSETNX', KEYS[4], id .. 'c', BEGUN)
  end
  if noted > 0 then
    add_to(NOTED, noted)
  end
  if #going_on > 0 and struct.unpack('<d', numbers, TRIED) > 0 then
    add_to(TRIED, -redis.call('HDEL', KEYS[3], unpack(going_on)))
  end
  if numbers ~= before then
    redis.call('SET', KEYS[1], numbers)
  end
end

local ends, from = redis.call('ZMSCORE', KEYS[2], unpack(ARGV, 1, appends)), appends + 1
local replies, begun, going_on = {}, {}, {}
for nth = 1, appends do
  local at, to = tonumber(ARGV[from]), from + 1 + ARGV[from + 1]
  if ends[nth] and tonumber(ends[nth]) > time then
    local key = KEYS[nth + 4]
    local length = redis.call('LLEN', key)
    if length == at then
      write(key, from + 2, to)
      replies[nth], going_on[#going_on + 1] = stamp, string.sub(ARGV[nth], 9)
      if at == 0 then
        begun[#begun + 1] = going_on[#going_on]
      end
    else
      replies[nth] = compare(key, length, at, from + 2, to)
    end
  else
    replies[nth] = LOST
  end
  from = to + 1
end
take_note(begun, going_on)
return table.concat(replies)
