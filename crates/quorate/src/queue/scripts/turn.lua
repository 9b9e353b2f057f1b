#!lua flags=allow-oom
-- Settles what a worker had, does what has to happen by now, and gives it more. Mirrors `QueueState::turn`.
-- KEYS      see library.lua, unique.lua, outbox.lua and limits.lua; behind those, if it is told of groups that are over, two: those of which
--           nobody was told, by until when they are kept, and those that somebody is telling of, by until when; of each settlement
--           with work two, of the group that may begin with it (see groups.lua); and the worker's last turn, a string: its number,
--           how many settlements it had, a 1 or 0 for each, deliveries
-- ARGV[1]   worker
-- ARGV[2]   number of the turn
-- ARGV[3]   how many it wants
-- ARGV[4]   length of a lease, us
-- ARGV[5]   channel of the queue; it shares its hash tag
-- ARGV[6]   limits, as limits.lua reads them; empty if there are none
-- ARGV[7]   how many settlements are simple: of jobs that are not bound and were done, with results to be kept equally long;
--           none of them if a job is there twice
-- ARGV[8]   how long that is, us
-- ARGV[9]   their deliveries; then, of each, its id and S with the result; then, of each other settlement, three: the delivery; S, W,
--           F, R, M, D or C and us (for how long the result is kept, without or with work, in how long it is due again after a failure,
--           without one, or unless there is a message before); result, work (see outbox.lua) and result, error, or how many
--           messages it has seen. C: it is cancelled
-- returns   {a 1 or 0 for each settlement as one text, deliveries as one text, their jobs, of each job that has either three: which
--           of them it is, how many deliveries of it failed, its checkpoint or nothing; us until there may be more or nothing; of each
--           effect two: its name, what it is; groups that are over}
-- atomic    a delivery is settled by who holds it, once; a job leaves one place and is in the next; who is delivered what is
--           one decision; and all of it is done once for a number
local worker, number, want, lease_for, channel = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local simple, keep_simple, time, queue = tonumber(ARGV[7]), tonumber(ARGV[8]), now(), read()
local others, takes_groups = 9 + simple * 3, KEYS[24] == KEYS[1] .. ':untold'
local limits, of_groups = limits_in(ARGV[6]), no_groups()
local MOST_BROUGHT, MOST_TOLD, TELLING = 100, 100, 60000000
local is_watched = queue.watched > time

local function id_of(delivery)
  return string.sub(delivery, 9)
end

-- How many deliveries failed of each of these jobs.
local function tries_of(ids)
  local tries = {}
  for nth, text in ipairs(queue.tried > 0 and values('HMGET', KEYS[8], ids) or {}) do
    tries[nth] = text and struct.unpack('<d', text)
  end
  return tries
end

-- What the next deliveries of these jobs begin with.
local function checkpoints_of(ids)
  local fields = {}
  for nth, id in ipairs(queue.noted > 0 and ids or {}) do
    fields[nth] = id .. 'c'
  end
  return values('HMGET', KEYS[16], fields)
end

-- What is told of a job that is delivered.
local function tell(delivered, job, tries, checkpoint)
  local nth, extras = #delivered.jobs + 1, delivered.extras
  delivered.jobs[nth] = job
  if tries or checkpoint then
    local at = #extras
    extras[at + 1], extras[at + 2], extras[at + 3] = nth, tries or 0, checkpoint or false
  end
end

local function again(last)
  local _, length, at = struct.unpack('<dI4', last)
  local flags, held, ids, all = string.sub(last, at, at + length - 1), {}, {}, {}
  for from = at + length, #last, 24 do
    all[#all + 1] = string.sub(last, from, from + 23)
  end
  for nth, ends in ipairs(values('ZMSCORE', KEYS[5], all)) do
    if is_after(ends, time) then
      held[#held + 1], ids[#ids + 1] = all[nth], id_of(all[nth])
    end
  end
  local jobs, tries, checkpoints = values('HMGET', KEYS[2], ids), tries_of(ids), checkpoints_of(ids)
  local still, delivered = {}, {jobs = {}, extras = {}}
  for nth, one in ipairs(held) do
    if jobs[nth] then
      still[#still + 1] = one
      tell(delivered, jobs[nth], tries[nth], checkpoints[nth])
    end
  end
  return {flags, table.concat(still), delivered.jobs, delivered.extras, #held < want and '0', {}, {}}
end

-- The common case of what the worker says: what is done, and is nobody's concern but of who asks for its result.
local function settle_simple(gone)
  if simple == 0 then
    return ''
  end
  local keeps = redis.call('ZMSCORE', KEYS[5], unpack(ARGV, 9, simple + 8))
  local is_plain = queue.awaited <= time and queue.noted == 0 and queue.tried == 0 and keep_simple > 0
  local flags, left, ended, results = {}, queue.left, queue.ended, queue.results
  local kept_until, done = decimal(time + keep_simple), 0
  for nth, ends in ipairs(keeps) do
    flags[nth] = '0'
    if is_after(ends, time) then
      local at = simple + 7 + nth * 2
      local id, what = ARGV[at], ARGV[at + 1]
      done, flags[nth] = done + 1, '1'
      gone[done] = ARGV[nth + 8]
      if is_plain then
        left[done], ended[done * 2 - 1], ended[done * 2] = id, kept_until, id
        results[done * 2 - 1], results[done * 2] = id, what
        if is_watched then
          happen(queue, 'S', id, '')
        end
      else
        finish(queue, id, what, keep_simple, time)
      end
    end
  end
  queue.ends.S = queue.ends.S + (is_plain and done or 0)
  return table.concat(flags)
end

-- What the worker says of what it had: what ends is put aside, what is to be delivered again comes back.
local function settle(gone, failing)
  local settled, held, flags, seen, over, bound, of_bound = settle_simple(gone), {}, {}, {}, {}, {}, {}
  for at = others, #ARGV, 3 do
    held[#held + 1] = ARGV[at]
  end
  if #held == 0 then
    return settled
  end
  for nth, ends in ipairs(values('ZMSCORE', KEYS[5], held)) do
    local one = held[nth]
    if is_after(ends, time) and not seen[one] then
      seen[one], gone[#gone + 1], flags[nth] = true, one, '1'
      local at = others + nth * 3 - 3
      local how, text = ARGV[at + 1], ARGV[at + 2]
      local verb, span, work = string.sub(how, 1, 1), tonumber(string.sub(how, 2)), nil
      if verb == 'W' then
        verb, work, text = 'S', work_in(text)
      end
      if verb == 'S' or verb == 'D' then
        over[#over + 1] = {id_of(one), verb .. text, span, false, work}
        if struct.unpack('>d', one) % 2 == 1 then
          bound[#bound + 1], of_bound[#of_bound + 1] = id_of(one), over[#over]
        end
      else
        failing[#failing + 1] = {
          id = id_of(one), span = span, why = verb == 'F' and text, seen = verb == 'M' and tonumber(text), is_over = verb == 'C',
        }
      end
    else
      flags[nth] = '0'
    end
  end
  for nth, job in ipairs(values('HMGET', KEYS[2], bound)) do
    of_bound[nth][4] = job
  end
  for _, it in ipairs(over) do
    finish(queue, it[1], it[2], it[3], time, it[4], it[5])
  end
  return settled .. table.concat(flags)
end

-- Which of the jobs that are active no more were cancelled.
local function take_cancelled(gone)
  local found, list = {}, {}
  if queue.cancelled > 0 and #gone > 0 then
    local ids = {}
    for nth, one in ipairs(gone) do
      ids[nth] = id_of(one)
    end
    for nth, is_member in ipairs(values('SMISMEMBER', KEYS[11], ids)) do
      if is_member == 1 then
        found[ids[nth]], list[#list + 1] = true, ids[nth]
      end
    end
  end
  return found, list
end

-- A job whose delivery failed, for this reason, or was deferred, for none.
local function fail(it, job, tries)
  local id, span, why = it.id, it.span, it.why
  local _, _, _, attempts = head(job)
  if why then
    queue.failed = queue.failed + 1
    tries = (tries or 0) + 1
    add(queue.tries, id, struct.pack('<d', tries) .. why)
    if tries >= attempts then
      return finish(queue, id, 'D' .. why, 0, time, job)
    end
  end
  if it.seen then
    queue.has_begun[#queue.has_begun + 1] = id
    span = queue.journaled == 1 and redis.call('LLEN', inbox_of(id)) > it.seen and 0 or span
  end
  queue.deferred = queue.deferred + (why and 0 or 1)
  if is_watched then
    happen(queue, why and 'F' or 'R', id, struct.pack('<d', time + span) .. (why or ''))
  end
  if span == 0 then
    make_ready(queue, id, job)
  else
    make_due(queue, id, time + span)
  end
end

local function fail_all(failing, cancelled)
  local ids = {}
  for nth, it in ipairs(failing) do
    ids[nth] = it.id
  end
  local jobs, tries = values('HMGET', KEYS[2], ids), tries_of(ids)
  look_up_tags(queue, jobs)
  for nth, it in ipairs(failing) do
    local job = jobs[nth]
    if job and (it.is_over or cancelled[it.id]) then
      local _, keep = head(job)
      finish(queue, it.id, 'C', keep, time, job)
    elseif job then
      fail(it, job, tries[nth])
    end
  end
end

-- Those of a sorted set whose time has come.
local function come(key, most)
  return redis.call('ZRANGE', key, '-inf', decimal(time), 'BYSCORE', 'LIMIT', 0, most)
end

local function promote()
  local ids = come(KEYS[4], math.max(MOST_MOVED, want))
  local jobs = values('HMGET', KEYS[2], ids)
  look_up_tags(queue, jobs)
  for nth, id in ipairs(ids) do
    if jobs[nth] then
      make_ready(queue, id, jobs[nth])
    end
  end
  return ids
end

local function forget(most)
  for _, key in ipairs({KEYS[6], KEYS[13]}) do
    local ids = come(key, most)
    if #ids > 0 then
      many('ZREM', key, ids)
      many('HDEL', KEYS[7], ids)
      for _, id in ipairs(ids) do
        forget_notes(queue, id)
      end
      if key == KEYS[13] then
        queue.gone = queue.gone + many('HDEL', KEYS[2], ids)
        queue.tried = queue.tried - many('HDEL', KEYS[8], ids)
      end
    end
  end
  forget_keys(queue, time, most)
end

local function settle_and_move()
  local gone, failing = {}, {}
  local flags = settle(gone, failing)
  for _, one in ipairs(come(KEYS[5], MOST_MOVED)) do
    gone[#gone + 1], failing[#failing + 1] = one, {id = id_of(one), span = 0, why = RAN_OUT}
  end
  local cancelled, list = take_cancelled(gone)
  stop_counting(queue, of_groups, gone)
  if #failing > 0 then
    fail_all(failing, cancelled)
  end
  local due = promote()
  announce_ends(queue, channel, time)
  if #gone > 0 then
    many('ZREM', KEYS[5], gone)
  end
  if #list > 0 then
    queue.cancelled = queue.cancelled - many('SREM', KEYS[11], list)
  end
  if #due > 0 then
    many('ZREM', KEYS[4], due)
  end
  forget(MOST_MOVED + #flags)
  put_back(queue, of_groups, limits, time, want)
  put_down(queue, time)
  return flags
end

-- What the limits of the whole queue leave: how many may begin, by how many are active, and when what was begun counts no more.
local function look_at_room()
  local room = {free = math.huge, jobs = math.huge}
  if limits.active < math.huge then
    room.free = math.max(limits.active - redis.call('ZCARD', KEYS[5]), 0)
  end
  if limits.of_queue then
    room.begun = tonumber(redis.call('ZSCORE', KEYS[22], '') or 0)
    room.jobs = starts_left(limits.of_queue, room.begun, time)
  end
  room.jobs = math.min(room.jobs, room.free)
  return room
end

-- Who is left something wakes the next, if there is room: `taken` of what is ready are as good as gone.
local function wake_next(taken, is_full)
  if queue.paused == 1 or queue.idle <= time or is_full then
    return
  end
  local is_next = queue.soonest and first_due() == queue.soonest
  local is_looked_at = queue.aside > 0 and (first(KEYS[23]) or time + 1) <= time
  if is_next or is_looked_at or redis.call('ZCARD', KEYS[3]) > taken then
    redis.call('ZREM', KEYS[10], worker)
    wake(queue, channel, time)
  end
end

local function look_up_groups_of(jobs)
  local groups = {}
  for _, job in ipairs(jobs) do
    local group = job and group_of(job) or ''
    if group ~= '' then
      groups[#groups + 1] = group
    end
  end
  look_up_groups(of_groups, limits, groups)
end

-- Looks at what is ready: some is delivered, some need not be begun any more, or may not. Returns how many those are by now, and
-- whether that is all.
local function claim(delivered, held, passed, room)
  local missing, asides = math.min(want, room.jobs) - #held, {}
  local next = redis.call('ZRANGE', KEYS[3], 0, missing - 1, 'WITHSCORES')
  local ids, active, last = {}, {}, 0
  for nth = 1, #next, 2 do
    ids[#ids + 1] = next[nth]
  end
  local ends = decimal(time + lease_for)
  local jobs, tries, checkpoints = values('HMGET', KEYS[2], ids), tries_of(ids), checkpoints_of(ids)
  local function give(nth, is_bound)
    local one = next_lease(queue, time, is_bound) .. ids[nth]
    held[#held + 1] = one
    tell(delivered, jobs[nth], tries[nth], checkpoints[nth])
    add(active, ends, one)
    if is_watched then
      happen(queue, 'G', ids[nth], struct.pack('<I4', (tries[nth] or 0) + 1))
    end
    return one
  end
  if limits.are_of_groups then
    look_up_groups_of(jobs)
  end
  for nth, id in ipairs(ids) do
    local job = jobs[nth]
    if job and string.sub(job, 1, 1) == PLAIN and not limits.are_of_groups then
      last = next[nth * 2]
      give(nth, false)
    elseif job then
      local _, keep, expires, _, priority, length, unique, member, at = head(job)
      local may_begin, counts, group = true, false, nil
      if expires > 0 and expires <= time then
        finish(queue, id, 'E', keep, time, job)
        may_begin, passed = false, passed + 1
      elseif limits.are_of_groups and length > 0 then
        group = string.sub(job, at, at + length - 1)
        may_begin, counts = admit(of_groups, limits, group, time)
        if not may_begin then
          passed = passed + 1
          asides[#asides + 1] = {tonumber(next[nth * 2]), id, job, next_look(of_groups, limits, group, time, 0)}
        end
      end
      if may_begin then
        queue.turn = math.max(queue.turn, next[nth * 2] + priority * HEAD_START)
        local one = give(nth, counts or unique + member > 0)
        if counts then
          count(queue, of_groups, group, one)
        end
      end
    end
  end
  -- Of plain jobs, the last has the greatest tag.
  queue.turn = math.max(queue.turn, last)
  announce_ends(queue, channel, time)
  if #held == want then
    wake_next(#ids, room.free <= #held)
  end
  set_aside(queue, asides)
  if #ids > 0 then
    redis.call('ZREMRANGEBYRANK', KEYS[3], 0, #ids - 1)
  end
  if #active > 0 then
    many('ZADD', KEYS[5], active)
  end
  put_down(queue, time)
  return passed, #ids < missing or #held >= math.min(want, room.jobs) or passed >= MOST_MOVED
end

-- In how long something is to be had, a job is due, a lease runs out, or there is something to be brought elsewhere.
local function next_time(is_full, wait)
  local brought = queue.effects > 0 and first(KEYS[18]) or math.huge
  if queue.paused == 1 then
    return brought < math.huge and decimal(math.max(brought - time, 0))
  end
  local soonest = math.min(first(KEYS[5]) or math.huge, brought)
  if not is_full then
    if redis.call('EXISTS', KEYS[3]) == 1 then
      if wait == 0 then
        return '0'
      end
      soonest = math.min(soonest, time + wait)
    end
    local looked_at = queue.aside > 0 and first(KEYS[23])
    soonest = math.min(soonest, first_due() or math.huge, looked_at or math.huge)
  end
  return soonest < math.huge and decimal(math.max(soonest - time, 0))
end

-- The ends of groups that are to be told now. Nobody else is told of them for a while.
local function ended_groups()
  local ids, until_when = {}, {}
  if not takes_groups then
    return ids
  end
  local all = redis.call('ZRANGE', KEYS[24], '(' .. decimal(time), '+inf', 'BYSCORE', 'LIMIT', 0, MOST_TOLD)
  for nth, told in ipairs(values('ZMSCORE', KEYS[25], all)) do
    if not is_after(told, time) then
      ids[#ids + 1] = all[nth]
      add(until_when, time + TELLING, all[nth])
    end
  end
  if #ids > 0 then
    many('ZADD', KEYS[25], until_when)
    redis.call('PEXPIRE', KEYS[25], milliseconds(TELLING))
  end
  return ids
end

local last = redis.call('GET', KEYS[#KEYS])
if last then
  local known = struct.unpack('<d', last)
  if known == number then
    return again(last)
  elseif known > number then
    -- It was overtaken by the next, so nobody waits for its answer.
    return {string.rep('0', simple + (#ARGV - others + 1) / 3), '', {}, {}, false, {}, {}}
  end
end
local flags = settle_and_move()
local room = look_at_room()
local delivered, held, passed, is_last = {jobs = {}, extras = {}}, {}, 0, queue.paused == 1 or math.min(want, room.jobs) == 0
if want == 0 then
  wake_next(0, room.free == 0)
end
while not is_last do
  passed, is_last = claim(delivered, held, passed, room)
end
local is_full, wait = room.free <= #held, 0
if limits.of_queue then
  if #held > 0 then
    room.begun = begun_after(limits.of_queue, room.begun, time, #held)
    of_groups.begun[''], of_groups.has_begun[''] = room.begun, true
  end
  wait = wait_for(limits.of_queue, room.begun, time, 0)
end
put_limits(of_groups, time)
local effects, groups, next = hand_out(queue, time, MOST_BROUGHT), ended_groups(), false
if #held < want then
  next = next_time(is_full, wait)
  queue.idle = math.max(queue.idle, time + PARKED)
  redis.call('ZADD', KEYS[10], time + PARKED, worker)
  redis.call('PEXPIRE', KEYS[10], milliseconds(PARKED))
elseif queue.idle > time then
  redis.call('ZREM', KEYS[10], worker)
end
if #held == 0 and queue.paused == 0 and is_empty() then
  fade(queue, time)
else
  write(queue)
end
held = table.concat(held)
redis.call('SET', KEYS[#KEYS], struct.pack('<dI4', number, #flags) .. flags .. held, 'PX', milliseconds(REMEMBERED))
return {flags, held, delivered.jobs, delivered.extras, next, effects, groups}
