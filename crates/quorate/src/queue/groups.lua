-- Put behind outbox.lua for what groups are told. Mirrors `Group`.
--
-- A group has two keys: what it counts and its values, a hash (h: see GROUP; a: until when its end is waited for; v and which, 4 bytes
-- big-endian: a value); and while it is not over its members, a hash by id: O open, W it waits for others, S, D, C or E as it ended; f and an
-- id: who waits for that one; g and the id of one that waits: see GATE; j and the same: its queue and the job, as an effect has them.
local MOST_VALUES, MAX_VALUES = 10000, 4194304
-- How many have to end, whether they have to succeed, how many there are, have ended, have succeeded.
local GATE = '<I4BI4I4I4'

local function open_group(id, key, members)
  local found = redis.call('HMGET', key, 'h', 'a')
  if not found[1] then
    return {id = id, is_over = true}
  end
  local it = {id = id, key = key, members = members, awaited = tonumber(found[2] or 0), state = {}, put = {}, values = {},
    followers = {}, gates = {}, jobs = {}, gone = {}, effects = {}, order = {}, performed = {}, ends = {}}
  it.keep, it.until_when, it.open, it.ends.S, it.ends.D, it.ends.C, it.ends.E, it.count, it.bytes, it.dropped, it.fixed =
    struct.unpack(GROUP, found[1])
  it.is_over, it.kept_values = it.until_when > 0, it.count
  return it
end

-- Looks up how members stand, together.
local function look_up(it, ids)
  local missing = {}
  for _, id in ipairs(ids) do
    if it.state[id] == nil then
      missing[#missing + 1], it.state[id] = id, false
    end
  end
  for nth, letter in ipairs(values('HMGET', it.members, missing)) do
    it.state[missing[nth]] = letter
  end
end

local function put(it, id, letter)
  it.state[id], it.put[id] = letter, letter
end

local function field(it, cache, letter, id)
  if cache[id] == nil then
    cache[id] = redis.call('HGET', it.members, letter .. id)
  end
  return cache[id]
end

local function queue_member(it, id, job)
  put(it, id, 'O')
  if not it.effects[id] then
    it.order[#it.order + 1] = id
  end
  it.effects[id] = job
end

local function close(it, id, letter)
  put(it, id, letter)
  it.open, it.ends[letter] = it.open - 1, it.ends[letter] + 1
end

-- O if a gate is open, X if it never opens.
local function stands(gate)
  local counted = gate.has_to_succeed == 1 and gate.succeeded or gate.done
  if counted >= gate.least then
    return 'O'
  end
  return gate.of - gate.done + counted < gate.least and 'X'
end

local function count(gate, letter)
  gate.done = gate.done + 1
  gate.succeeded = gate.succeeded + (letter == 'S' and 1 or 0)
end

local function say(it, mode, value)
  if it.fixed == 1 then
    return
  end
  if mode ~= 'a' then
    it.is_cleared, it.values, it.count, it.bytes = true, {}, 0, 0
  end
  it.fixed = mode == 'f' and 1 or 0
  if it.count >= MOST_VALUES or it.bytes + #value > MAX_VALUES then
    it.dropped = it.dropped + 1
    return
  end
  it.values[it.count] = value
  it.count, it.bytes = it.count + 1, it.bytes + #value
end

local function take_in(it, left)
  local id = left.id
  if it.state[id] then
    return
  end
  it.open = it.open + 1
  if left.mode == '-' then
    return queue_member(it, id, left.job)
  end
  local missing = {}
  local gate = {least = left.least, has_to_succeed = left.mode == 's' and 1 or 0, of = #left.on, done = 0, succeeded = 0}
  for _, one in ipairs(left.on) do
    local letter = it.state[one]
    if letter == 'O' or letter == 'W' then
      missing[#missing + 1] = one
    else
      count(gate, letter)
    end
  end
  local how = stands(gate)
  if how == 'O' then
    return queue_member(it, id, left.job)
  elseif how == 'X' then
    return close(it, id, 'C')
  end
  for _, one in ipairs(missing) do
    it.followers[one] = (field(it, it.followers, 'f', one) or '') .. id
  end
  put(it, id, 'W')
  it.gates[id], it.jobs[id] = gate, left.job
end

local function gate_of(it, id)
  if it.gates[id] == nil then
    local gate = {}
    gate.least, gate.has_to_succeed, gate.of, gate.done, gate.succeeded =
      struct.unpack(GATE, redis.call('HGET', it.members, 'g' .. id))
    it.gates[id] = gate
  end
  return it.gates[id]
end

-- Who waits waits no more.
local function open_gate(it, id)
  it.gates[id], it.jobs[id] = false, false
  it.gone['g' .. id], it.gone['j' .. id] = true, true
end

-- One of those that this one waits for has ended. Returns whether it can't be queued any more.
local function follow(it, id, letter)
  local gate = gate_of(it, id)
  count(gate, letter)
  local how = stands(gate)
  if how == 'O' then
    queue_member(it, id, field(it, it.jobs, 'j', id))
    open_gate(it, id)
  elseif how == 'X' then
    put(it, id, 'O')
    open_gate(it, id)
    return true
  end
end

-- Ends a member, and those that can't be queued any more because of that.
local function end_all(it, first, how)
  local ended, nth = {{first, how}}, 0
  while nth < #ended do
    nth = nth + 1
    local id, letter = ended[nth][1], ended[nth][2]
    close(it, id, letter)
    local all, followers = field(it, it.followers, 'f', id) or '', {}
    for at = 1, #all, 16 do
      followers[#followers + 1] = string.sub(all, at, at + 15)
    end
    look_up(it, followers)
    for _, follower in ipairs(followers) do
      if it.state[follower] == 'W' and follow(it, follower, letter) then
        ended[#ended + 1] = {follower, 'C'}
      end
    end
    it.followers[id] = false
    it.gone['f' .. id] = #all > 0 or nil
  end
end

-- What a job leaves: how many values it says and each (how: s set, a append, f fix; its length; itself), how many jobs it leaves and each:
-- what it waits for (- nothing, d that so many have ended, s that so many succeeded; how many; of how many; those), its id, the length of
-- the rest: its queue and the job, as an effect has them.
local function parse_work(work)
  local said, left, at = {}, {}, 1
  if work == '' then
    return said, left
  end
  local number
  number, at = struct.unpack('<I2', work, at)
  for nth = 1, number do
    local mode, length, from = struct.unpack('<c1I4', work, at)
    said[nth], at = {mode, string.sub(work, from, from + length - 1)}, from + length
  end
  number, at = struct.unpack('<I2', work, at)
  for nth = 1, number do
    local it, of, length = {on = {}}, nil, nil
    it.mode, it.least, of, at = struct.unpack('<c1I4I2', work, at)
    for one = 1, of do
      it.on[one], at = string.sub(work, at, at + 15), at + 16
    end
    it.id, length, at = struct.unpack('<c16I4', work, at)
    it.job, at = string.sub(work, at, at + length - 1), at + length
    left[nth] = it
  end
  return said, left
end

-- A member has ended. What follows is put aside.
local function end_member(it, id, letter, work)
  if it.is_over then
    return
  end
  local said, left = parse_work(work)
  local ids = {id}
  for _, one in ipairs(left) do
    ids[#ids + 1] = one.id
    for _, other in ipairs(one.on) do
      ids[#ids + 1] = other
    end
  end
  look_up(it, ids)
  if it.state[id] ~= 'O' then
    return
  end
  it.is_changed = true
  for _, one in ipairs(said) do
    say(it, one[1], one[2])
  end
  for _, one in ipairs(left) do
    take_in(it, one)
  end
  end_all(it, id, letter)
  it.effects[id] = nil
  it.performed[#it.performed + 1] = 'P' .. id
  it.is_over = it.open == 0
end

local function put_values(it)
  local gone, put_aside = {}, {}
  for nth = 0, it.is_cleared and it.kept_values - 1 or -1 do
    gone[#gone + 1] = 'v' .. struct.pack('>I4', nth)
  end
  if #gone > 0 then
    many('HDEL', it.key, gone)
  end
  for nth, value in pairs(it.values) do
    add(put_aside, 'v' .. struct.pack('>I4', nth), value)
  end
  add(put_aside, 'h', struct.pack(GROUP, it.keep, it.until_when, it.open, it.ends.S, it.ends.D, it.ends.C, it.ends.E, it.count,
    it.bytes, it.dropped, it.fixed))
  many('HSET', it.key, put_aside)
end

local function put_members(it)
  local members, gone = {}, {}
  for id, letter in pairs(it.put) do
    add(members, id, letter)
  end
  for id, followers in pairs(it.followers) do
    if followers then
      add(members, 'f' .. id, followers)
    end
  end
  for id, gate in pairs(it.gates) do
    if gate then
      add(members, 'g' .. id, struct.pack(GATE, gate.least, gate.has_to_succeed, gate.of, gate.done, gate.succeeded))
    end
  end
  for id, job in pairs(it.jobs) do
    if job then
      add(members, 'j' .. id, job)
    end
  end
  for name in pairs(it.gone) do
    gone[#gone + 1] = name
  end
  many('HSET', it.members, members)
  if #gone > 0 then
    many('HDEL', it.members, gone)
  end
end

-- What is to be queued now, in its order, which is that of its times.
local function put_effects(queue, it, time)
  local effects, due = {}, {}
  for nth, id in ipairs(it.order) do
    if it.effects[id] then
      add(effects, 'P' .. id, it.effects[id])
      add(due, time - #it.order + nth, 'P' .. id)
    end
  end
  drop_effects(queue, it.performed)
  if #effects > 0 then
    queue.effects = queue.effects + many('HSET', KEYS[17], effects)
    many('ZADD', KEYS[18], due)
  end
end

-- Writes what was put aside.
local function put_group(queue, it, time)
  if it.is_over then
    it.until_when = time + it.keep
    redis.call('UNLINK', it.members)
    redis.call('ZREM', KEYS[19], it.id)
  else
    put_members(it)
  end
  put_effects(queue, it, time)
  put_values(it)
  if it.is_over then
    if it.keep > 0 then
      redis.call('PEXPIRE', it.key, milliseconds(it.keep))
    else
      redis.call('UNLINK', it.key)
    end
  end
end
