#!lua
-- One write to an entry. Mirrors `Entry::write`.
-- KEYS[1]  the entry: a string
-- KEYS[2]  optional: what is remembered of the write, a string: its fingerprint, and its answer
-- KEYS[3]  (or 2, without that) with a token: the greatest that the entry was written with, a string
-- ARGV[1]  set, add or expire
-- ARGV[2]  always, absent or equals
-- ARGV[3]  the value that equals asks for
-- ARGV[4]  the value to set, or how much to add
-- ARGV[5]  keep, never, after or new: what becomes of its end
-- ARGV[6]  ms from now to its end
-- ARGV[7]  fingerprint of the write, 8 bytes
-- ARGV[8]  how long it is remembered, ms
-- ARGV[9]  token of who writes, or nothing
-- ARGV[10] how long it is remembered, ms
-- returns  applied, refused, not-a-counter, overflow, other, stale and the greatest token, or the counter in digits
-- atomic   the look at what was done before and with which token, the condition, the value and its end are one decision
local token = ARGV[9]
local fence = token ~= '' and KEYS[#KEYS]
local memory = KEYS[2] ~= fence and KEYS[2]
if memory then
  local done = redis.call('GET', memory)
  if done then
    if string.sub(done, 1, 8) ~= ARGV[7] then
      return 'other'
    end
    -- A write again, for a WAIT behind this to count: the first may have come on another connection.
    redis.call('PEXPIRE', memory, math.max(redis.call('PTTL', memory), 1))
    return string.sub(done, 9)
  end
end
if fence then
  local greatest = redis.call('GET', fence) or '0'
  if #greatest > #token or #greatest == #token and greatest > token then
    return 'stale ' .. greatest
  end
  redis.call('SET', fence, token, 'PX', ARGV[10])
end
local key, verb, expiry = KEYS[1], ARGV[1], ARGV[5]
local there = redis.call('EXISTS', key) == 1
if expiry == 'new' then
  expiry = there and 'keep' or 'after'
end
local function set()
  if ARGV[2] == 'absent' and there
    or ARGV[2] == 'equals' and redis.call('GET', key) ~= ARGV[3] then
    return 'refused'
  end
  if expiry == 'after' then
    redis.call('SET', key, ARGV[4], 'PX', ARGV[6])
  elseif expiry == 'keep' then
    redis.call('SET', key, ARGV[4], 'KEEPTTL')
  else
    redis.call('SET', key, ARGV[4])
  end
  return 'applied'
end
local function move()
  if expiry == 'after' then
    redis.call('PEXPIRE', key, ARGV[6])
  elseif expiry == 'never' then
    redis.call('PERSIST', key)
  end
end
local function add()
  local added = redis.pcall('INCRBY', key, ARGV[4])
  if type(added) == 'table' then
    local overflow = string.find(added.err, 'overflow', 1, true)
    return overflow and 'overflow' or 'not-a-counter'
  end
  move()
  -- Not what INCRBY said: Lua rounds numbers above 2^53.
  return redis.call('GET', key)
end
local answer
if verb == 'set' then
  answer = set()
elseif verb == 'add' then
  answer = add()
elseif there then
  move()
  answer = 'applied'
else
  answer = 'refused'
end
if memory and answer ~= 'overflow' and answer ~= 'not-a-counter' then
  redis.call('SET', memory, ARGV[7] .. answer, 'PX', ARGV[8])
end
return answer
