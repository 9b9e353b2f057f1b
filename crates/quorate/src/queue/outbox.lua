-- Put behind library.lua and unique.lua for scripts in which jobs end. Mirrors `Outbox`.
-- KEYS[17]  what has to happen elsewhere, a hash by name: E and a job's id, that it has ended; P and a job's id, that it is to be
--           queued. A byte: the length of a queue's name; that. Of E: the group, how it ended (S, D, C or E), what it leaves (groups.lua).
--           Of P: in how long it is due (a double), and the job as push.lua takes it
-- KEYS[18]  the same names, a sorted set by when each is handed out next
-- KEYS[19]  groups that are not over, a sorted set by when they began
local BRING_LEASE, MAX_BROUGHT = 10000000, 4194304
-- For how long a group is kept once it is over; until when (0: it is not); how many members are open, succeeded, died, were cancelled
-- and expired; how many values it has, their bytes, how many were too many; whether they are fixed.
local GROUP = '<ddddddddddB'

-- What a worker says of a job that leaves something: which of KEYS, and the next, its group has if it begins one; the group, what it
-- leaves; and behind that its result.
local function work_in(text)
  local nth, length, at = struct.unpack('<I2I4', text)
  local member = string.byte(text, at)
  local work = {
    key = nth,
    member = string.sub(text, at + 1, at + member),
    bytes = string.sub(text, at + member + 1, at + length - 1),
  }
  return work, string.sub(text, at + length)
end

-- Begins the group of a job, unless it has begun before.
local function begin_group(it, time)
  local key, group = it.work.key, string.sub(it.member, -16)
  local known = redis.call('HGET', KEYS[key], 'h')
  if known then
    local _, until_when = struct.unpack('<dd', known)
    if until_when == 0 or until_when > time then
      return
    end
    -- It is kept no longer.
    redis.call('UNLINK', KEYS[key])
  end
  redis.call('HSET', KEYS[key], 'h', struct.pack(GROUP, it.keep, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0))
  redis.call('HSET', KEYS[key + 1], it.id, 'O')
  redis.call('ZADD', KEYS[19], time, group)
end

put_reports = function(queue, time)
  local effects, due = {}, {}
  for _, it in ipairs(queue.reports) do
    if it.begins then
      begin_group(it, time)
    end
    local name = 'E' .. it.id
    add(effects, name, string.char(#it.member - 16) .. it.member .. it.letter .. (it.work and it.work.bytes or ''))
    add(due, time, name)
  end
  queue.effects = queue.effects + many('HSET', KEYS[17], effects)
  many('ZADD', KEYS[18], due)
  queue.reports = {}
end

-- Takes effects away that were performed, or need not be.
local function drop_effects(queue, names)
  if #names > 0 and queue.effects > 0 then
    many('ZREM', KEYS[18], names)
    queue.effects = queue.effects - many('HDEL', KEYS[17], names)
  end
end

-- Those that nobody is performing, the first ones: of each its name and what it is. Nobody else gets them for a while.
local function hand_out(queue, time, most)
  local list, due, gone, size = {}, {}, {}, 0
  if queue.effects == 0 or most == 0 then
    return list
  end
  local names = redis.call('ZRANGE', KEYS[18], '-inf', decimal(time), 'BYSCORE', 'LIMIT', 0, most)
  for nth, effect in ipairs(values('HMGET', KEYS[17], names)) do
    size = size + (effect and #effect or 0)
    if not effect then
      gone[#gone + 1] = names[nth]
    elseif #list == 0 or size <= MAX_BROUGHT then
      add(list, names[nth], effect)
      -- Should they come again, then in the same order.
      add(due, time + BRING_LEASE + nth - 1, names[nth])
    end
  end
  if #due > 0 then
    many('ZADD', KEYS[18], due)
  end
  if #gone > 0 then
    many('ZREM', KEYS[18], gone)
  end
  return list
end

-- Whether nothing is there that keeps a queue from being forgotten.
local function is_empty()
  return redis.call('EXISTS', KEYS[2], KEYS[7], KEYS[17], KEYS[19]) == 0
end
