#!lua flags=no-writes
-- Some of the journal and the inbox of a job. Mirrors `QueueState::read`.
-- KEYS      see library.lua
-- KEYS[17]  its journal, a list: see append.lua
-- KEYS[18]  its inbox, a list likewise
-- ARGV[1]   id of the job
-- ARGV[2]   how many entries are known
-- ARGV[3]   how many messages are known
-- returns   {what time it is, us; entries behind those; how many there are in all; messages behind those; how many}, or nothing
-- atomic    the time is after everything that is read
local MOST_READ, MAX_READ, STEP = 1000, 4194304, 16
local id, time, left = ARGV[1], now(), MAX_READ

-- What is behind the first ones, a few at a time: nobody knows how long they are.
local function page(key, from)
  local lines = {}
  while #lines < MOST_READ do
    local last = from + math.min(#lines + STEP, MOST_READ) - 1
    local first = from + #lines
    local part = redis.call('LRANGE', key, first, last)
    for _, line in ipairs(part) do
      if #line - 8 > left then
        left = 0
        return lines
      end
      left = left - (#line - 8)
      lines[#lines + 1] = line
    end
    if #part <= last - first then
      break
    end
  end
  return lines
end

if not place_of(read(), id, time) then
  return false
end
local entries = page(KEYS[17], tonumber(ARGV[2]))
local messages = page(KEYS[18], tonumber(ARGV[3]))
return {decimal(time), entries, redis.call('LLEN', KEYS[17]), messages, redis.call('LLEN', KEYS[18])}
