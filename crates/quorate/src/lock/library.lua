-- Put in front of the scripts of locks. Mirrors `LockState`, whose constants these are.
-- KEYS[1] is the lock: a hash of
--   state      numbers, little-endian doubles, by the name they have here:
--     last       the last token given out
--     used       how much of it is held
--     count      how many hold it
--     soonest    us: no lease ends before
--     latest     us: none ends after
--     written    us: when an end was last written, of a lease or of who waits
--     kept       us: when the key expires
--     waiting    how many wait
--     places     the last place given out in the queue
--     unheard    us: nobody who waits counts for less; 0 where somebody may have been left who fits
--     widest     nobody who waits goes by a greater capacity
--     queued     us: when what is of the queue expires
--   released   the last lease given back
--   forced     the last token taken away
--   h:<lease>  a holder: ends (us), how long it was to be when that was written (us), token, since (us), weight, as
--              doubles; one byte, 1 if it is re-entrant; owner
--   o:<owner>  what the holders of a re-entrant owner have together: token, weight, how many they are
-- KEYS[2] is the queue, a sorted set of leases by place; KEYS[3] who they are, a hash by lease: length (us), weight,
-- capacity, since (us), as doubles, whether it is re-entrant, owner; KEYS[4] a sorted set of them by until when they count
-- (us). They are read only where `waiting` says so, and an empty queue costs nothing.
local HEARTBEAT, RETENTION, UNHEARD = 3000000, 86400000000, 500000
local MOST_HOLDERS, MOST_WAITERS, MOST_GRANTS, MOST_COLLECTED, MOST_SHOWN = 1000, 10000, 128, 500, 100
local STATE, HOLDER, WAITER = '<dddddddddddd', '<dddddB', '<ddddB'
local COMPANIONS = '^(%d+) (%d+) (%d+)$'

-- Writes what has changed of it, with fields put aside.
local function write(lock, time)
  if not lock.changed then
    return
  end
  if lock.gone[1] then
    redis.call('HDEL', KEYS[1], unpack(lock.gone))
  end
  -- Not each time: it stays for half as long at least, and for half as long again at most.
  local kept = math.max(lock.latest, time) + RETENTION
  local is_due = math.abs(lock.kept - kept) > RETENTION / 2
  lock.kept = is_due and kept or lock.kept
  redis.call('HSET', KEYS[1], 'state', struct.pack(STATE, lock.last, lock.used, lock.count, lock.soonest, lock.latest,
    lock.written, lock.kept, lock.waiting, lock.places, lock.unheard, lock.widest, lock.queued), unpack(lock.fields))
  if is_due then
    redis.call('PEXPIRE', KEYS[1], milliseconds(kept - time))
  end
  lock.changed, lock.fields, lock.gone = false, {}, {}
end

local function put(lock, field, value)
  lock.fields[#lock.fields + 1] = field
  lock.fields[#lock.fields + 1] = value
  lock.changed = true
end

-- What the entry of a holder says: ends, length, token, since, weight, whether it is re-entrant, owner.
local function holder(entry)
  local ends, length, token, since, weight, again, at = struct.unpack(HOLDER, entry)
  return ends, length, token, since, weight, again, string.sub(entry, at)
end

-- Lets a lease that holds the lock end `length` from now.
local function let_last(lock, lease, length, token, since, weight, again, owner, time)
  local only, ends = lock.count == 1, time + length
  lock.soonest = only and ends or math.min(lock.soonest, ends)
  lock.latest = only and ends or math.max(lock.latest, ends)
  lock.written = time
  local entry = struct.pack(HOLDER, ends, length, token, since, weight, again) .. owner
  put(lock, 'h:' .. lease, entry)
  return entry
end

-- Takes holders out, given as their fields with what they say.
local function remove(lock, entries)
  for _, entry in ipairs(entries) do
    local _, _, _, _, weight, again, owner = holder(entry[2])
    lock.gone[#lock.gone + 1] = entry[1]
    local others = again == 1 and redis.call('HGET', KEYS[1], 'o:' .. owner)
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
  lock.count = lock.count - #entries
  if lock.count == 0 then
    lock.soonest, lock.latest = 0, 0
  end
  lock.changed, lock.moved = true, true
end

-- Every holder that `is_meant`, as its field with what it says.
local function holders(is_meant)
  local all, found = redis.call('HGETALL', KEYS[1]), {}
  for nth = 1, #all, 2 do
    if string.sub(all[nth], 1, 2) == 'h:' then
      local ends, _, token = holder(all[nth + 1])
      if is_meant(ends, token) then
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
    local ends, length, token, since, weight, again, owner = holder(entry[2])
    ends = math.min(ends, time + length)
    lock.soonest, lock.latest = math.min(lock.soonest or ends, ends), math.max(lock.latest, ends)
    put(lock, entry[1], struct.pack(HOLDER, ends, length, token, since, weight, again) .. owner)
  end
  lock.soonest = lock.soonest or 0
  local most = time + HEARTBEAT
  lock.unheard = math.min(lock.unheard, most)
  for _, lease in ipairs(redis.call('ZRANGE', KEYS[4], '(' .. decimal(most), '+inf', 'BYSCORE')) do
    redis.call('ZADD', KEYS[4], decimal(most), lease)
  end
  -- At once: what is put aside here must not come back after it was removed.
  write(lock, time)
end

-- The lock, and the entry of a lease that holds it.
local function read(lease, time)
  local field = 'h:' .. lease
  local state, entry = unpack(redis.call('HMGET', KEYS[1], 'state', field))
  if not state then
    -- Whoever waited for what was forgotten asks again.
    redis.call('DEL', KEYS[2], KEYS[3], KEYS[4])
    return {last = 0, used = 0, count = 0, soonest = 0, latest = 0, written = 0, kept = 0, waiting = 0, places = 0,
      unheard = 0, widest = 0, queued = 0, fields = {}, gone = {}}
  end
  local last, used, count, soonest, latest, written, kept, waiting, places, unheard, widest, queued =
    struct.unpack(STATE, state)
  local lock = {last = last, used = used, count = count, soonest = soonest, latest = latest, written = written,
    kept = kept, waiting = waiting, places = places, unheard = unheard, widest = widest, queued = queued,
    fields = {}, gone = {}}
  if written > time then
    follow_clock(lock, time)
    entry = entry and redis.call('HGET', KEYS[1], field)
  end
  return lock, entry
end

local function end_leases(lock, time)
  if lock.count == 0 or lock.soonest > time then
    return
  end
  -- At once: who was removed is not to be found again.
  write(lock, time)
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
    -- Should what follows be refused, the next transition goes on.
    lock.unheard = 0
  end
  -- At once: who has ended may ask again in this very script.
  write(lock, time)
end

-- Whether there is room, whoever is in front; and what who asks would share.
local function admits(lock, who)
  who.others = who.again == 1 and redis.call('HGET', KEYS[1], 'o:' .. who.owner)
  return lock.count < MOST_HOLDERS and (who.others or lock.used + who.weight <= who.capacity)
end

-- To be called after `admits`, and before anything is written: the token comes with what is announced.
local function token_of(lock, who, time)
  if who.others then
    return tonumber(string.match(who.others, '^%d+'))
  end
  return math.max(lock.last + 1, time)
end

local function enter(lock, lease, who, token, length, time)
  local weight = who.weight
  if who.others then
    local _, together, many = string.match(who.others, COMPANIONS)
    weight = together
    redis.call('HSET', KEYS[1], 'o:' .. who.owner, table.concat({decimal(token), together, decimal(many + 1)}, ' '))
  else
    lock.used, lock.last = lock.used + weight, token
    if who.again == 1 then
      redis.call('HSET', KEYS[1], 'o:' .. who.owner, table.concat({decimal(token), weight, '1'}, ' '))
    end
  end
  lock.count = lock.count + 1
  return let_last(lock, lease, length, token, time, weight, who.again, who.owner, time)
end

-- Takes waiters out of the queue. Returns how many were in it.
local function leave_queue(lock, ...)
  redis.call('HDEL', KEYS[3], ...)
  redis.call('ZREM', KEYS[4], ...)
  local left = redis.call('ZREM', KEYS[2], ...)
  if left > 0 then
    lock.waiting, lock.moved, lock.changed = lock.waiting - left, true, true
  end
  return left
end

local function waiter(entry)
  if entry then
    local length, weight, capacity, since, again, at = struct.unpack(WAITER, entry)
    return {length = length, weight = weight, capacity = capacity, since = since, again = again,
      owner = string.sub(entry, at)}
  end
end

-- Who is in front, dead or alive.
local function first(lock)
  return lock.waiting > 0 and redis.call('ZRANGE', KEYS[2], 0, 0)[1] or nil
end

-- Takes waiters that are gone out of the queue: some of them, and all that stand in front. Returns who is in front then.
local function collect(lock, time)
  local head = first(lock)
  while head and lock.unheard <= time do
    local gone = redis.call('ZRANGE', KEYS[4], '-inf', decimal(time), 'BYSCORE', 'LIMIT', 0, MOST_COLLECTED)
    if #gone > 0 then
      leave_queue(lock, unpack(gone))
      head = first(lock)
    end
    local alive = head and redis.call('ZSCORE', KEYS[4], head)
    if #gone < MOST_COLLECTED or (alive and tonumber(alive) > time) then
      lock.unheard, lock.changed = tonumber(redis.call('ZRANGE', KEYS[4], 0, 0, 'WITHSCORES')[2] or 0), true
      head = lock.unheard > 0 and head or nil
      break
    end
  end
  if not head and lock.waiting > 0 then
    -- Of a queue that was evicted in part nobody is left; whoever waits asks again.
    redis.call('DEL', KEYS[2], KEYS[3], KEYS[4])
    lock.waiting, lock.changed = 0, true
  end
  return head
end

-- Frees what has ended, and grants what is free to those whose turn it is. Returns the entry of `lease` if it was granted
-- to that. Where nothing was freed and everybody counts, whoever is in front does not fit still.
local function settle(lock, time, channel, lease)
  end_leases(lock, time)
  if lock.waiting == 0 or not (lock.moved or lock.unheard <= time) then
    return
  end
  local own
  for _ = 1, MOST_GRANTS do
    local head = collect(lock, time)
    if not head then
      return own
    end
    -- Who is not known any more is gone.
    local who = waiter(redis.call('HGET', KEYS[3], head))
    if who and not admits(lock, who) then
      return own
    end
    if who then
      local token = token_of(lock, who, time)
      -- First, because it is what a user may lack permission for: then nobody is granted anything, and who asked is told.
      -- Whoever hears it can act on it only after this script has ended.
      local told = redis.pcall('SPUBLISH', channel, 'granted ' .. string.sub(head, 1, 16) .. ' ' .. decimal(token))
      if type(told) == 'table' then
        lock.refused, lock.unheard, lock.changed = told, 0, true
        return own
      end
      -- Only for so long until it confirms: it may be gone.
      local entry = enter(lock, head, who, token, math.min(who.length, HEARTBEAT), time)
      own = head == lease and entry or own
    end
    leave_queue(lock, head)
    if who and who.again == 0 and lock.used >= lock.widest then
      return own
    end
  end
  -- The next transition goes on.
  lock.unheard, lock.changed = 0, true
  return own
end

-- How a lease that holds the lock ends `length` from now, said if that is sooner than it was to.
local function extend(lock, lease, length, entry, channel, time)
  local ends, _, token, since, weight, again, owner = holder(entry)
  if time + length < ends then
    redis.call('SPUBLISH', channel, 'shortened ' .. string.sub(lease, 1, 16))
  end
  let_last(lock, lease, length, token, since, weight, again, owner, time)
end

-- What was done, or what was refused on the way.
local function answer(lock, time, reply)
  write(lock, time)
  return lock.refused or reply
end

-- How long at least until a lease ends.
local function remaining(lock, time)
  return math.max(lock.soonest - time, 0)
end
