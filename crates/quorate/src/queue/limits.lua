-- Put behind library.lua, unique.lua and outbox.lua. Mirrors `limits.rs` and `state/limits.rs`. A job whose fairness group has no room
-- when it would be its turn is aside: in KEYS[4], with a score later than any time that says its rank.
-- KEYS[20]  who is aside, ordered by fairness group and rank: members of a sorted set, see aside_member
-- KEYS[21]  active jobs that count for the limits of their groups, a hash: d and a delivery, its group; g and a group, how many
-- KEYS[22]  what counts of what was begun, a sorted set: of each group (of the whole queue: the empty one), until when it does
-- KEYS[23]  groups that have jobs aside, by when they are looked at again
local LOOK_AGAIN = 5000000

-- Takes members from those that are aside. When none is left, no group need be looked at.
local function drop_aside(queue, members)
  if #members > 0 then
    queue.aside = queue.aside - many('ZREM', KEYS[20], members)
    if queue.aside == 0 then
      redis.call('DEL', KEYS[23])
    end
  end
end

-- How often `by` has to be taken to have the number: whole, where a division would round.
local function rounded_up(number, by)
  local whole = math.floor(number / by)
  return whole * by < number and whole + 1 or whole
end

local function rate_in(capacity, drained, token)
  return capacity > 0 and {full = capacity * token, drained = drained, token = token}
end

-- The limits of who asks: how many are active at most, and how many of each group; and of both, how much may begin, how much of
-- that runs out in a us, and how much of it is one job. 0: no limit.
local function limits_in(text)
  if text == '' then
    return {active = math.huge}
  end
  local active, per_group, capacity, drained, token, capacity_of, drained_of, token_of = struct.unpack('<dddddddd', text)
  local of_groups = rate_in(capacity_of, drained_of, token_of)
  return {active = active > 0 and active or math.huge, per_group = per_group > 0 and per_group, of_groups = of_groups,
    of_queue = rate_in(capacity, drained, token), are_of_groups = per_group > 0 or of_groups}
end

-- What has not run out of what was begun.
local function counting(rate, begun, time)
  return math.min(math.max((begun or 0) - time, 0) * rate.drained, rate.full)
end

local function starts_left(rate, begun, time)
  return math.floor((rate.full - counting(rate, begun, time)) / rate.token)
end

-- In how long one may begin that is so many behind the next.
local function wait_for(rate, begun, time, behind)
  local over = counting(rate, begun, time) + (behind + 1) * rate.token - rate.full
  return over > 0 and rounded_up(over, rate.drained) or 0
end

-- Until when what was begun counts, when so many more are.
local function begun_after(rate, begun, time, number)
  return time + rounded_up(counting(rate, begun, time) + number * rate.token, rate.drained)
end

-- What is known of groups, and what is to be written of them: how many of their active jobs count, until when what was begun does.
local function no_groups()
  return {active = {}, begun = {}, is_changed = {}, has_begun = {}, counted = {}, counts_no_more = {}, freed = {}}
end

local function missing_of(known, groups)
  local missing, seen = {}, {}
  for _, group in ipairs(groups) do
    if not known[group] and not seen[group] then
      seen[group], missing[#missing + 1] = true, group
    end
  end
  return missing
end

local function look_up_active(of, groups)
  local missing, fields = missing_of(of.active, groups), {}
  for nth, group in ipairs(missing) do
    fields[nth] = 'g' .. group
  end
  for nth, number in ipairs(values('HMGET', KEYS[21], fields)) do
    of.active[missing[nth]] = tonumber(number or 0)
  end
end

local function look_up_groups(of, limits, groups)
  if limits.per_group then
    look_up_active(of, groups)
  end
  if limits.of_groups then
    local missing = missing_of(of.begun, groups)
    for nth, begun in ipairs(values('ZMSCORE', KEYS[22], missing)) do
      of.begun[missing[nth]] = tonumber(begun or 0)
    end
  end
end

-- How many more of a group may begin, of which all is known.
local function room_of(of, limits, group, time)
  local free = limits.per_group and math.max(limits.per_group - of.active[group], 0) or math.huge
  return math.min(free, limits.of_groups and starts_left(limits.of_groups, of.begun[group], time) or math.huge)
end

-- When to look at a group again of which so many were put back.
local function next_look(of, limits, group, time, behind)
  local wait = limits.of_groups and wait_for(limits.of_groups, of.begun[group], time, behind) or 0
  return time + math.min(wait > 0 and wait or LOOK_AGAIN, LOOK_AGAIN)
end

-- These deliveries are over. Those that count do no more, and their groups may go on.
local function stop_counting(queue, of, gone)
  local fields, groups = {}, {}
  for _, one in ipairs(queue.counted > 0 and gone or {}) do
    if struct.unpack('>d', one) % 2 == 1 then
      fields[#fields + 1] = 'd' .. one
    end
  end
  for nth, group in ipairs(values('HMGET', KEYS[21], fields)) do
    if group then
      groups[#groups + 1], of.counts_no_more[#of.counts_no_more + 1] = group, fields[nth]
    end
  end
  look_up_active(of, groups)
  for _, group in ipairs(groups) do
    of.active[group], of.is_changed[group] = math.max(of.active[group] - 1, 0), true
    add(of.freed, 0, group)
  end
  queue.counted = queue.counted - #groups
end

-- Puts back some of what is aside whose groups have no limits any more.
local function put_back_all(queue)
  local some, ids, scores = redis.call('ZRANGE', KEYS[4], decimal(FIRST_ASIDE), '+inf', 'BYSCORE', 'LIMIT', 0, MOST_MOVED,
    'WITHSCORES'), {}, {}
  for nth = 1, #some, 2 do
    ids[#ids + 1], scores[#scores + 1] = some[nth], tonumber(some[nth + 1])
  end
  local members = {}
  for nth, job in ipairs(values('HMGET', KEYS[2], ids)) do
    add(queue.ready, scores[nth] - ASIDE, ids[nth])
    if job then
      members[#members + 1] = aside_member(ids[nth], job, scores[nth])
    end
  end
  return ids, members
end

-- Puts back what may begin of groups whose time has come to be looked at.
local function put_back_some(queue, of, limits, time)
  local groups = redis.call('ZRANGE', KEYS[23], '-inf', decimal(time), 'BYSCORE', 'LIMIT', 0, MOST_MOVED)
  look_up_groups(of, limits, groups)
  local members, ids, looks, over = {}, {}, {}, {}
  for _, group in ipairs(groups) do
    local room, prefix = math.min(room_of(of, limits, group, time), MOST_MOVED), of_group(group)
    local next = redis.call('ZRANGE', KEYS[20], '[' .. prefix, '(' .. prefix .. '\255', 'BYLEX', 'LIMIT', 0, room + 1)
    for nth = 1, math.min(room, #next) do
      members[#members + 1], ids[#ids + 1] = next[nth], string.sub(next[nth], -16)
    end
    if #next > room then
      add(looks, next_look(of, limits, group, time, room), group)
    else
      over[#over + 1] = group
    end
  end
  local back = {}
  for nth, score in ipairs(values('ZMSCORE', KEYS[4], ids)) do
    -- Who was evicted is not there.
    if score and tonumber(score) == struct.unpack('>d', string.sub(members[nth], -24, -17)) then
      back[#back + 1] = ids[nth]
      add(queue.ready, score - ASIDE, ids[nth])
    end
  end
  if #looks > 0 then
    many('ZADD', KEYS[23], looks)
  end
  if #over > 0 then
    many('ZREM', KEYS[23], over)
  end
  return back, members
end

-- Puts back what may begin by now of what is aside. Who wants nothing leaves that to others.
local function put_back(queue, of, limits, time, want)
  if queue.aside > 0 and #of.freed > 0 then
    redis.call('ZADD', KEYS[23], 'XX', 'LT', unpack(of.freed))
  end
  if queue.aside == 0 or want == 0 then
    return
  end
  local ids, members
  if limits.are_of_groups then
    ids, members = put_back_some(queue, of, limits, time)
  else
    ids, members = put_back_all(queue)
  end
  if #ids > 0 then
    many('ZREM', KEYS[4], ids)
  end
  drop_aside(queue, members)
end

-- Sets aside what may not begin: of each, its rank, id, body, and when to look at its group again.
local function set_aside(queue, list)
  local members, looks = {}, {}
  for _, it in ipairs(list) do
    local score, group = ASIDE + it[1], group_of(it[3])
    add(queue.due, score, it[2])
    add(members, 0, aside_member(it[2], it[3], score))
    add(looks, it[4], group)
  end
  if #list > 0 then
    queue.aside = queue.aside + many('ZADD', KEYS[20], members)
    for nth = 1, #looks, 2000 do
      redis.call('ZADD', KEYS[23], 'LT', unpack(looks, nth, math.min(nth + 1999, #looks)))
    end
  end
end

-- Whether one of this group may begin, which then has; and whether it counts as long as it is active.
local function admit(of, limits, group, time)
  if room_of(of, limits, group, time) < 1 then
    return false, false
  end
  if limits.of_groups then
    of.begun[group], of.has_begun[group] = begun_after(limits.of_groups, of.begun[group], time, 1), true
  end
  return true, limits.per_group
end

local function count(queue, of, group, one)
  add(of.counted, 'd' .. one, group)
  of.active[group], of.is_changed[group], queue.counted = of.active[group] + 1, true, queue.counted + 1
end

-- Writes what became of all this.
local function put_limits(of, time)
  local over, begun = of.counts_no_more, {}
  for group in pairs(of.is_changed) do
    if of.active[group] > 0 then
      add(of.counted, 'g' .. group, of.active[group])
    else
      over[#over + 1] = 'g' .. group
    end
  end
  if #of.counted > 0 then
    many('HSET', KEYS[21], of.counted)
  end
  if #over > 0 then
    many('HDEL', KEYS[21], over)
  end
  for group in pairs(of.has_begun) do
    add(begun, of.begun[group], group)
  end
  if #begun > 0 then
    many('ZADD', KEYS[22], begun)
    -- For those that come, some go that count no more.
    local gone = redis.call('ZRANGE', KEYS[22], '-inf', decimal(time), 'BYSCORE', 'LIMIT', 0, MOST_MOVED)
    if #gone > 0 then
      redis.call('ZREM', KEYS[22], unpack(gone))
    end
    local last = redis.call('ZRANGE', KEYS[22], -1, -1, 'WITHSCORES')[2]
    redis.call('PEXPIRE', KEYS[22], milliseconds(last - time))
  end
end
