-- Put in front of the scripts of locks. Mirrors `LockState`, whose constants these are.
-- KEYS[1] is the lock: a hash of
--   last       the last token given out
--   used       how much of it is held
--   count      how many hold it
--   soonest    us: no lease ends before
--   latest     us: none ends after
--   written    us: when an end was last written, of a lease or of who waits
--   released   the last lease given back
--   forced     the last token taken away
--   h:<lease>  a holder: ends (us), how long it was to be when that was written (us), token, since (us), weight, whether
--              it is re-entrant, owner
--   o:<owner>  what the holders of a re-entrant owner have together: token, weight, how many they are
-- KEYS[2] is the queue, a sorted set of leases by place; KEYS[3] who they are, a hash by lease: length (us), weight,
-- capacity, whether it is re-entrant, since (us), owner; KEYS[4] a sorted set of them by until when they count (us).
local HEARTBEAT, RETENTION, UNHEARD = 3000000, 86400000000, 500000
local MOST_HOLDERS, MOST_WAITERS, MOST_GRANTS, MOST_COLLECTED, MOST_SHOWN = 1000, 10000, 128, 500, 100
local HOLDER = '^(%d+) (%d+) (%d+) (%d+) (%d+) ([01]) (.*)$'
local WAITER = '^(%d+) (%d+) (%d+) ([01]) (%d+) (.*)$'
local COMPANIONS = '^(%d+) (%d+) (%d+)$'

-- Writes what has changed of it, with fields put aside.
local function write(lock, time)
  if lock.changed then
    redis.call('HSET', KEYS[1], 'last', decimal(lock.last), 'used', lock.used, 'count', lock.count,
      'soonest', decimal(lock.soonest), 'latest', decimal(lock.latest), 'written', decimal(lock.written),
      unpack(lock.fields))
    redis.call('PEXPIRE', KEYS[1], milliseconds(math.max(lock.latest, time) - time + RETENTION))
    lock.changed, lock.fields = false, {}
  end
end

local function put(lock, field, value)
  lock.fields[#lock.fields + 1] = field
  lock.fields[#lock.fields + 1] = value
  lock.changed = true
end

-- When a lease ends, for a clock that may have been set back since that was written.
local function ends_by(time, ends, length)
  return math.min(tonumber(ends), time + length)
end

-- The fields of a holder, as words.
local function holding(ends, length, rest)
  return decimal(ends) .. ' ' .. decimal(length) .. ' ' .. rest
end

-- Lets a lease that holds the lock end `length` from now.
local function let_last(lock, lease, length, rest, time)
  local only, ends = lock.count == 1, time + length
  lock.soonest = only and ends or math.min(lock.soonest, ends)
  lock.latest = only and ends or math.max(lock.latest, ends)
  lock.written = time
  put(lock, 'h:' .. lease, holding(ends, length, rest))
end

-- Takes holders out, given as their fields with what they say.
local function remove(lock, entries)
  local names = {}
  for nth, entry in ipairs(entries) do
    local _, _, _, _, weight, again, owner = string.match(entry[2], HOLDER)
    names[nth] = entry[1]
    local others = again == '1' and redis.call('HGET', KEYS[1], 'o:' .. owner)
    if not others then
      lock.used = lock.used - weight
    else
      local token, together, many = string.match(others, COMPANIONS)
      if tonumber(many) > 1 then
        redis.call('HSET', KEYS[1], 'o:' .. owner, table.concat({token, together, decimal(many - 1)}, ' '))
      else
        redis.call('HDEL', KEYS[1], 'o:' .. owner)
        lock.used = lock.used - together
      end
    end
  end
  redis.call('HDEL', KEYS[1], unpack(names))
  lock.count = lock.count - #names
  if lock.count == 0 then
    lock.soonest, lock.latest = 0, 0
  end
  lock.changed = true
end

-- Every holder that `is_meant`, as its field with what it says.
local function holders(is_meant)
  local all, found = redis.call('HGETALL', KEYS[1]), {}
  for nth = 1, #all, 2 do
    if string.sub(all[nth], 1, 2) == 'h:' then
      local ends, _, token = string.match(all[nth + 1], HOLDER)
      if is_meant(tonumber(ends), token) then
        found[#found + 1] = {all[nth], all[nth + 1]}
      end
    end
  end
  return found
end

-- What was written by a clock that was ahead of this one ends as if it were written now, if it would end later.
local function follow_clock(lock, time)
  lock.written, lock.changed = time, true
  lock.soonest, lock.latest = nil, 0
  for _, entry in ipairs(holders(function() return true end)) do
    local ends, length, rest = string.match(entry[2], '^(%d+) (%d+) (.*)$')
    ends = ends_by(time, ends, length)
    lock.soonest, lock.latest = math.min(lock.soonest or ends, ends), math.max(lock.latest, ends)
    put(lock, entry[1], holding(ends, length, rest))
  end
  lock.soonest = lock.soonest or 0
  local most = decimal(time + HEARTBEAT)
  for _, lease in ipairs(redis.call('ZRANGE', KEYS[4], '(' .. most, '+inf', 'BYSCORE')) do
    redis.call('ZADD', KEYS[4], most, lease)
  end
  -- At once: what is put aside here must not come back after it was removed.
  write(lock, time)
end

-- The lock, and the entry of a lease that holds it.
local function read(lease, time)
  local field = 'h:' .. lease
  local at = redis.call('HMGET', KEYS[1], 'last', 'used', 'count', 'soonest', 'latest', 'written', field)
  local lock = {fields = {}}
  for nth, name in ipairs({'last', 'used', 'count', 'soonest', 'latest', 'written'}) do
    lock[name] = tonumber(at[nth] or 0)
  end
  local entry = at[7]
  if lock.written > time then
    follow_clock(lock, time)
    entry = entry and redis.call('HGET', KEYS[1], field)
  end
  return lock, entry
end

local function end_leases(lock, time)
  if lock.count == 0 or lock.soonest > time then
    return
  end
  local soonest, latest = nil, 0
  local ended = holders(function(ends)
    if ends > time then
      soonest, latest = math.min(soonest or ends, ends), math.max(latest, ends)
    end
    return ends <= time
  end)
  lock.soonest, lock.latest, lock.changed = soonest or 0, latest, true
  if #ended > 0 then
    remove(lock, ended)
  end
  -- At once: what follows may be refused where the user may not publish.
  write(lock, time)
end

-- Whether there is room, whoever is in front; and what who asks would share.
local function admits(lock, who)
  who.others = who.again == '1' and redis.call('HGET', KEYS[1], 'o:' .. who.owner)
  return lock.count < MOST_HOLDERS and (who.others or lock.used + who.weight <= who.capacity)
end

-- To be called after `admits`, and before anything is written: the token comes with what is announced.
local function token_of(lock, who, time)
  if who.others then
    return string.match(who.others, '^%d+')
  end
  return decimal(math.max(lock.last + 1, time))
end

local function enter(lock, lease, who, token, length, time)
  local weight = who.weight
  if who.others then
    local _, together, many = string.match(who.others, COMPANIONS)
    weight = together
    redis.call('HSET', KEYS[1], 'o:' .. who.owner, table.concat({token, together, decimal(many + 1)}, ' '))
  else
    lock.used, lock.last = lock.used + weight, tonumber(token)
    if who.again == '1' then
      redis.call('HSET', KEYS[1], 'o:' .. who.owner, table.concat({token, weight, '1'}, ' '))
    end
  end
  local rest = table.concat({token, decimal(time), decimal(weight), who.again, who.owner}, ' ')
  lock.count = lock.count + 1
  let_last(lock, lease, length, rest, time)
  return holding(time + length, length, rest)
end

local function leave_queue(...)
  redis.call('HDEL', KEYS[3], ...)
  redis.call('ZREM', KEYS[4], ...)
  return redis.call('ZREM', KEYS[2], ...) > 0
end

local function waiter(text)
  local length, weight, capacity, again, since, owner = string.match(text or '', WAITER)
  return length and {length = tonumber(length), weight = tonumber(weight), capacity = tonumber(capacity),
    again = again, since = since, owner = owner}
end

-- Takes waiters that are gone out of the queue: some of them, and all that stand in front. Returns who is in front then.
local function collect(time)
  local head = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
  while head do
    local gone = redis.call('ZRANGE', KEYS[4], '-inf', decimal(time), 'BYSCORE', 'LIMIT', 0, MOST_COLLECTED)
    if #gone == 0 then
      return head
    end
    leave_queue(unpack(gone))
    head = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
    local alive = head and redis.call('ZSCORE', KEYS[4], head)
    if alive and tonumber(alive) > time then
      return head
    end
  end
end

-- Frees what has ended, and grants what is free to those whose turn it is. Returns whose turn is next, and the entry of
-- `lease` if it was granted to that.
local function settle(lock, time, channel, lease)
  end_leases(lock, time)
  local own
  for _ = 1, MOST_GRANTS do
    local head = collect(time)
    if not head then
      return nil, own
    end
    -- Of a queue that was evicted in part, who is not known any more is gone.
    local who = waiter(redis.call('HGET', KEYS[3], head))
    if who and not admits(lock, who) then
      return head, own
    end
    if who then
      local token = token_of(lock, who, time)
      -- First, because it is what a user may lack permission for: then nothing has been written. Whoever hears it can
      -- act on it only after this script has ended.
      redis.call('SPUBLISH', channel, 'granted ' .. string.sub(head, 1, 16) .. ' ' .. token)
      -- Only for so long until it confirms: it may be gone.
      local entry = enter(lock, head, who, token, math.min(who.length, HEARTBEAT), time)
      own = head == lease and entry or own
    end
    leave_queue(head)
  end
  return collect(time), own
end

-- How a lease that holds the lock ends `length` from now, said if that is sooner than it was to.
local function extend(lock, lease, length, entry, channel, time)
  local ends, rest = string.match(entry, '^(%d+) %d+ (.*)$')
  if time + length < tonumber(ends) then
    redis.call('SPUBLISH', channel, 'shortened ' .. string.sub(lease, 1, 16))
  end
  let_last(lock, lease, length, rest, time)
end

-- How long at least until a lease ends.
local function remaining(lock, time)
  return decimal(math.max(lock.soonest - time, 0))
end
