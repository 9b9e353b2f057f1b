-- Put behind library.lua and unique.lua, in front of the scripts that queue jobs.

-- The span for which what became of a job is kept, until when it is worth beginning it, and its uniqueness: scope, key, us.
local function parse_new(job, time)
  local keep, expires, _, _, group, unique, _, at = struct.unpack(NEW, job)
  expires = expires > 0 and time + expires or 0
  if unique > 0 then
    return keep, expires, unique_in(string.sub(job, at + group, at + group + unique - 1))
  end
  return keep, expires
end

-- Who has these keys, as far as this script has not found that out or changed it. A holder: id; its job if there is one; its place
-- if it is not over.
local function look_up_holders(queue, keys, time)
  local let_go, list, ids = {}, {}, {}
  for _, it in ipairs(queue.bound) do
    let_go[it.id] = it
  end
  for nth, entry in ipairs(values('HMGET', KEYS[14], keys)) do
    queue.held[keys[nth]] = nil
    local until_when, id = struct.unpack(HOLDER, entry or struct.pack(HOLDER, 1, string.rep('\0', 16)))
    if until_when == 0 and let_go[id] then
      until_when = kept_until(let_go[id], unique_of(let_go[id].job), time) or 1
    end
    if until_when == 0 or until_when > time then
      list[#list + 1], ids[#ids + 1] = {id = id, key = keys[nth], is_timed = until_when > 0}, id
    end
  end
  local jobs, results = values('HMGET', KEYS[2], ids), values('HMGET', KEYS[7], ids)
  local ready, due = values('ZMSCORE', KEYS[3], ids), values('ZMSCORE', KEYS[4], ids)
  for nth, it in ipairs(list) do
    -- Who has it for good but is not there was evicted.
    if it.is_timed or jobs[nth] then
      queue.held[it.key], it.job = it, jobs[nth]
      if jobs[nth] and not results[nth] then
        it.place = queue.place[it.id] or ready[nth] and 'ready' or due[nth] and 'due' or 'active'
      it.score = tonumber(due[nth] or 0)
      end
    end
  end
end

-- The same of the keys of all these jobs.
local function look_up_all(queue, new, time)
  local keys, seen = {}, {}
  for _, it in ipairs(new) do
    if struct.unpack('<I2', it[3], 28) > 0 then
      local _, _, _, key = parse_new(it[3], time)
      local holder = queue.held[key]
      if not seen[key] and (not holder or queue.place[holder.id] == 'over') then
        seen[key], keys[#keys + 1] = true, key
      end
    end
  end
  if #keys > 0 then
    look_up_holders(queue, keys, time)
  end
end

-- Of which members of groups it is still to be told that they ended: those were here.
local function reported(queue, new)
  local names, ids, found = {}, {}, {}
  for _, it in ipairs(queue.effects > 0 and new or {}) do
    if struct.unpack('<I2', it[3], 30) > 0 then
      names[#names + 1], ids[#ids + 1] = 'E' .. it[1], it[1]
    end
  end
  for nth, effect in ipairs(values('HMGET', KEYS[17], names)) do
    found[ids[nth]] = effect and true
  end
  return found
end

-- Which of these jobs are known. What this script has put aside is newer than what is there.
local function known_of(queue, new, time)
  local ids, known = {}, {}
  for nth, it in ipairs(new) do
    ids[nth] = it[1]
  end
  local jobs, results = values('HMGET', KEYS[2], ids), values('HMGET', KEYS[7], ids)
  for nth, id in ipairs(ids) do
    local is_first = known[id] == nil
    known[id] = jobs[nth] or false
    if results[nth] then
      local kept = string.sub(results[nth], 1, 1) == 'D' and KEYS[13] or KEYS[6]
      known[id] = is_after(redis.call('ZSCORE', kept, id), time)
      if not known[id] then
        -- Nobody has come by to forget it.
        queue.outdated[#queue.outdated + 1] = id
        if is_first then
          queue.gone = queue.gone + (jobs[nth] and 1 or 0)
          forget_notes(queue, id)
        end
      end
    end
    if queue.known[id] ~= nil then
      known[id] = queue.known[id]
    end
  end
  return known
end

-- A job that waits is to be done as was said last: with that input, delay and expiry.
local function debounce(queue, it, job, expires, span, moves)
  if it.place == 'due' and (it.score or 0) >= FIRST_ASIDE then
    queue.not_aside[#queue.not_aside + 1], it.score = aside_member(it.id, it.job, it.score), nil
  end
  local _, _, _, _, last_group, last_unique, last_member, from = struct.unpack(NEW, job)
  local input = string.sub(job, from + last_group + last_unique + last_member)
  local queued, keep, _, attempts, priority, group, unique, member, at = head(it.job)
  it.job = '\0' .. struct.pack(HEAD, queued, keep, expires, attempts, priority, group, unique, member)
    .. string.sub(it.job, at, at + group + unique + member - 1) .. input
  it.span = span
  if not moves[it] then
    moves[it], moves[#moves + 1] = true, it
  end
end

local function give_key(queue, key, it, span, time)
  queue.held[key] = it
  add(queue.given, key, struct.pack(HOLDER, span and time + span or 0, it.id))
  if span then
    add(queue.given_until, time + span, key)
  else
    queue.given_for_good[#queue.given_for_good + 1] = key
  end
end

-- Takes in one that is not known. Returns 1 if it is new, 0 if it has its key, 2 and its holder if another has.
local function take_in(queue, id, span, job, moves, time, begins)
  local keep, expires, scope, key, throttle = parse_new(job, time)
  local holder = key and queue.held[key]
  if holder and holder.id == id then
    return '0'
  elseif holder and not (scope == 'D' and holder.place == 'active') then
    if scope == 'D' and (holder.place == 'ready' or holder.place == 'due' or holder.place == 'new') then
      debounce(queue, holder, job, expires, span, moves)
    end
    return '2', holder.id
  end
  local it = {id = id, span = span, place = 'new', begins = begins, job = '\0' .. struct.pack('<ddd', time, keep, expires) .. string.sub(job, 17)}
  moves[it], moves[#moves + 1] = true, it
  if key then
    give_key(queue, key, it, scope == 'T' and throttle, time)
  end
  return '1'
end

-- Delivers a job at once to who pushes it, ahead of what waits.
local function begin(queue, it, time)
  queue.place[it.id] = 'active'
  queue.begun = next_lease(queue, time, is_bound(it.job)) .. it.id
end

-- Puts what was taken in or debounced into its place.
local function move(queue, it, time)
  add(queue.bodies, it.id, it.job)
  if it.place ~= 'new' then
    queue.moved[#queue.moved + 1] = it.id
    queue.place[it.id] = it.place
  end
  if it.span > 0 then
    make_due(queue, it.id, time + it.span)
  elseif it.begins then
    begin(queue, it, time)
  elseif it.place ~= 'ready' then
    make_ready(queue, it.id, it.job)
  end
  it.place = queue.place[it.id]
  if queue.watched > time then
    happen(queue, 'Q', it.id, struct.pack('<d', it.span > 0 and time + it.span or 0))
    if queue.begun then
      happen(queue, 'G', it.id, struct.pack('<I4', 1))
    end
  end
end

-- Queues jobs, but those that are known and those whose keys others have; what is to be written is put aside. Of each: its id; in
-- how long it is due, us; what HEAD says of it but when it was queued, its expiry counted from now, and what is behind that; whether
-- it is delivered at once, of one alone.
-- Returns a 1 for each that is new, a 0 for each that is known, a 2 for each whose key another has, and who those are. Mirrors
-- `QueueState::queue_jobs`.
local function queue_jobs(queue, new, time)
  local replies, same, moves, bodies, known = {}, {}, {}, {}, known_of(queue, new, time)
  local is_reported = reported(queue, new)
  look_up_all(queue, new, time)
  for nth, it in ipairs(new) do
    local id = it[1]
    replies[nth] = '0'
    if not known[id] and not (is_reported[id] and struct.unpack('<I2', it[3], 30) > 0) then
      replies[nth], same[#same + 1] = take_in(queue, id, it[2], it[3], moves, time, it[4])
      known[id] = replies[nth] == '1'
      queue.known[id] = known[id] or queue.known[id]
    end
  end
  for nth, it in ipairs(moves) do
    bodies[nth] = it.job
  end
  look_up_tags(queue, bodies)
  for _, it in ipairs(moves) do
    move(queue, it, time)
  end
  return replies, same
end

-- Writes what was put aside by a push, and wakes one who is idle if there is something for it.
local function put_down_pushed(queue, channel, time)
  local batch = queue.batch
  announce_events(queue, time)
  local before = queue.soonest and first_due()
  if #queue.ready > 0 or queue.soonest and (not before or queue.soonest <= before) then
    wake(queue, channel, time)
  end
  local is_changed, timed = queue.is_new or queue.fading == 1 or #queue.outdated > 0, queue.timed
  if queue.is_new then
    redis.call('DEL', KEYS[9])
  end
  put_down(queue, time)
  if #queue.not_aside > 0 then
    is_changed, queue.aside = true, queue.aside - many('ZREM', KEYS[20], queue.not_aside)
    if queue.aside == 0 then
      redis.call('DEL', KEYS[23])
    end
  end
  if is_changed or queue.timed ~= timed or queue.batch ~= batch then
    write(queue)
  end
end
