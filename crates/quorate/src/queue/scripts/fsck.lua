#!lua
-- Looks at some of what a queue consists of for what does not belong together, and puts it right if that is asked for.
-- KEYS     see library.lua, unique.lua, outbox.lua and limits.lua
-- ARGV[1]  channel of the queue; it shares its hash tag
-- ARGV[2]  1 to put it right, 0 to look
-- ARGV[3]  number of the part
-- ARGV[4]  where in it
-- returns  {number of the next part (0: this was the last), where in it, how much was looked at, of each stray, two: what it is, its
--          name}
-- atomic   what is put right was wrong at that time
local channel, repair, nth_part, cursor = ARGV[1], ARGV[2] == '1', tonumber(ARGV[3]), ARGV[4]
local time, queue = now(), read()
local strays, checked, is_changed = {}, 0, false

local function stray(kind, name, fix)
  add(strays, kind, name)
  if repair then
    is_changed = true
    fix()
  end
end

-- The members of a sorted set, or the fields of a hash, that are next.
local function scan(command, nth, step)
  local reply = redis.call(command, KEYS[nth], cursor, 'COUNT', 100)
  local names, scored, size = {}, {}, step or 2
  for at = 1, #reply[2], size do
    names[#names + 1], scored[reply[2][at]] = reply[2][at], reply[2][at + 1]
  end
  cursor, checked = reply[1], checked + #names
  return names, scored
end

-- By id, the deliveries of the jobs that are active.
local function active_ones()
  local all = {}
  for _, one in ipairs(redis.call('ZRANGE', KEYS[5], 0, -1)) do
    local id = string.sub(one, 9)
    all[id] = all[id] or {}
    table.insert(all[id], one)
  end
  return all
end

local function without_body(nth, offset)
  local names, ids = scan('ZSCAN', nth), {}
  for at, name in ipairs(names) do
    ids[at] = string.sub(name, offset)
  end
  for at, job in ipairs(values('HMGET', KEYS[2], ids)) do
    if not job then
      stray('member', ids[at], function()
        redis.call('ZREM', KEYS[nth], names[at])
        forget_notes(queue, ids[at])
      end)
    end
  end
end

local function without_result(nth)
  local ids = scan('ZSCAN', nth)
  local jobs, results = values('HMGET', KEYS[2], ids), values('HMGET', KEYS[7], ids)
  for at, id in ipairs(ids) do
    local is_dead = results[at] and string.sub(results[at], 1, 1) == 'D'
    if not results[at] or is_dead ~= (nth == 13) or nth == 13 and not jobs[at] then
      stray('member', id, function() redis.call('ZREM', KEYS[nth], id) end)
    end
  end
end

local function results_without_place()
  local ids = scan('HSCAN', 7)
  local ended, dead = values('ZMSCORE', KEYS[6], ids), values('ZMSCORE', KEYS[13], ids)
  for at, id in ipairs(ids) do
    if not ended[at] and not dead[at] then
      stray('result', id, function()
        redis.call('HDEL', KEYS[7], id)
        forget_notes(queue, id)
      end)
    end
  end
end

-- The one place in which a job stays that is in several: where it is still to be done.
local function keep_one(id, places)
  for at = 2, #places do
    redis.call('ZREM', KEYS[places[at][1]], places[at][2])
    if places[at][1] == 6 or places[at][1] == 13 then
      redis.call('HDEL', KEYS[7], id)
    end
  end
end

local function bodies()
  local ids, jobs = scan('HSCAN', 2)
  local ready, due = values('ZMSCORE', KEYS[3], ids), values('ZMSCORE', KEYS[4], ids)
  local ended, dead, active = values('ZMSCORE', KEYS[6], ids), values('ZMSCORE', KEYS[13], ids), active_ones()
  for at, id in ipairs(ids) do
    local places = {}
    for _, one in ipairs(active[id] or {}) do
      -- The latest delivery is first.
      table.insert(places, 1, {5, one})
    end
    for _, it in ipairs({{3, ready[at]}, {4, due[at]}, {13, dead[at]}}) do
      if it[2] then
        places[#places + 1] = {it[1], id}
      end
    end
    if #places > 1 or #places == 1 and ended[at] then
      if ended[at] then
        places[#places + 1] = {6, id}
      end
      stray('twice', id, function() keep_one(id, places) end)
    elseif ended[at] then
      stray('body', id, function() redis.call('HDEL', KEYS[2], id) end)
    elseif #places == 0 then
      stray('unplaced', id, function()
        look_up_tags(queue, {jobs[id]})
        make_ready(queue, id, jobs[id])
      end)
    end
  end
end

local function tries()
  local ids = scan('HSCAN', 8)
  for at, job in ipairs(values('HMGET', KEYS[2], ids)) do
    if not job then
      stray('tries', ids[at], function() redis.call('HDEL', KEYS[8], ids[at]) end)
    end
  end
end

local function keys()
  local names, entries = scan('HSCAN', 14)
  local ends, owners = values('ZMSCORE', KEYS[15], names), {}
  for at, key in ipairs(names) do
    owners[at] = string.sub(entries[key], 9)
  end
  local jobs, results = values('HMGET', KEYS[2], owners), values('HMGET', KEYS[7], owners)
  for at, key in ipairs(names) do
    local until_when = struct.unpack(HOLDER, entries[key])
    if until_when == 0 and (not jobs[at] or results[at]) then
      stray('key', key, function() redis.call('HDEL', KEYS[14], key) end)
    elseif until_when > 0 and not ends[at] then
      stray('key', key, function() redis.call('ZADD', KEYS[15], until_when, key) end)
    end
  end
end

local function key_ends()
  local names = scan('ZSCAN', 15)
  for at, entry in ipairs(values('HMGET', KEYS[14], names)) do
    if not entry or struct.unpack(HOLDER, entry) == 0 then
      stray('key', names[at], function() redis.call('ZREM', KEYS[15], names[at]) end)
    end
  end
end

local function notes()
  local names, ids = scan('HSCAN', 16), {}
  for at, name in ipairs(names) do
    ids[at] = string.sub(name, 1, 16)
  end
  local jobs, results = values('HMGET', KEYS[2], ids), values('HMGET', KEYS[7], ids)
  for at, name in ipairs(names) do
    if not jobs[at] and not results[at] then
      stray('note', ids[at], function() redis.call('HDEL', KEYS[16], name) end)
      if redis.call('EXISTS', journal_of(ids[at]), inbox_of(ids[at])) > 0 then
        stray('journal', ids[at], function() redis.call('UNLINK', journal_of(ids[at]), inbox_of(ids[at])) end)
      end
    end
  end
end

local function cancelled()
  local ids, active = scan('SSCAN', 11, 1), active_ones()
  for _, id in ipairs(ids) do
    if not active[id] then
      stray('cancelled', id, function() redis.call('SREM', KEYS[11], id) end)
    end
  end
end

local function effects()
  local names = scan('HSCAN', 17)
  for at, due in ipairs(values('ZMSCORE', KEYS[18], names)) do
    if not due then
      stray('effect', string.sub(names[at], 2), function() redis.call('ZADD', KEYS[18], time, names[at]) end)
    end
  end
end

local function outbox()
  local names = scan('ZSCAN', 18)
  for at, effect in ipairs(values('HMGET', KEYS[17], names)) do
    if not effect then
      stray('effect', string.sub(names[at], 2), function() redis.call('ZREM', KEYS[18], names[at]) end)
    end
  end
end

local function groups()
  for _, id in ipairs(scan('ZSCAN', 19)) do
    -- In the same slot, but which they are is not known before.
    if redis.call('EXISTS', KEYS[1] .. ':group:' .. hex(id)) == 0 then
      stray('group', id, function() redis.call('ZREM', KEYS[19], id) end)
    end
  end
end

-- Who is aside is in two places, and its group is looked at.
local function due_and_aside()
  local ids, scores = scan('ZSCAN', 4)
  local jobs, members, owners = values('HMGET', KEYS[2], ids), {}, {}
  for at, id in ipairs(ids) do
    if not jobs[at] then
      stray('member', id, function() redis.call('ZREM', KEYS[4], id) end)
    elseif tonumber(scores[id]) >= FIRST_ASIDE then
      members[#members + 1], owners[#owners + 1] = aside_member(id, jobs[at], tonumber(scores[id])), id
    end
  end
  for at, is_there in ipairs(values('ZMSCORE', KEYS[20], members)) do
    if not is_there then
      stray('aside', owners[at], function() redis.call('ZADD', KEYS[20], 0, members[at]) end)
    end
  end
end

local function aside()
  local members = scan('ZSCAN', 20)
  local ids, groups = {}, {}
  for at, member in ipairs(members) do
    ids[at], groups[at] = string.sub(member, -16), string.sub(member, 3, -25)
  end
  local scores, looks = values('ZMSCORE', KEYS[4], ids), values('ZMSCORE', KEYS[23], groups)
  for at, member in ipairs(members) do
    if not scores[at] or tonumber(scores[at]) ~= struct.unpack('>d', string.sub(member, -24, -17)) then
      stray('aside', ids[at], function() redis.call('ZREM', KEYS[20], member) end)
    elseif not looks[at] then
      stray('aside', ids[at], function() redis.call('ZADD', KEYS[23], time, groups[at]) end)
    end
  end
end

-- All at once: as many as are active.
local function counted()
  cursor = '0'
  local all, deliveries, numbers, right = redis.call('HGETALL', KEYS[21]), {}, {}, {}
  for at = 1, #all, 2 do
    local name = string.sub(all[at], 2)
    if string.sub(all[at], 1, 1) == 'd' then
      deliveries[#deliveries + 1], right[name] = name, all[at + 1]
    else
      numbers[name] = tonumber(all[at + 1])
    end
  end
  checked = checked + #all / 2
  local expected = {}
  for at, ends in ipairs(values('ZMSCORE', KEYS[5], deliveries)) do
    local group = right[deliveries[at]]
    expected[group] = (expected[group] or 0) + (ends and 1 or 0)
    if not ends then
      stray('counted', string.sub(deliveries[at], 9), function() redis.call('HDEL', KEYS[21], 'd' .. deliveries[at]) end)
    end
  end
  for group in pairs(numbers) do
    expected[group] = expected[group] or 0
  end
  for group, number in pairs(expected) do
    if numbers[group] ~= number and not (number == 0 and not numbers[group]) then
      stray('count', group, function()
        if number > 0 then
          redis.call('HSET', KEYS[21], 'g' .. group, number)
        else
          redis.call('HDEL', KEYS[21], 'g' .. group)
        end
      end)
    end
  end
end

local function counts()
  cursor = '0'
  local active, counted = 0, redis.call('HGETALL', KEYS[21])
  for at = 1, #counted, 2 do
    active = active + (string.sub(counted[at], 1, 1) == 'd' and 1 or 0)
  end
  for name, number in pairs({tried = redis.call('HLEN', KEYS[8]), timed = redis.call('ZCARD', KEYS[15]),
    noted = redis.call('HLEN', KEYS[16]), effects = redis.call('HLEN', KEYS[17]), cancelled = redis.call('SCARD', KEYS[11]),
    counted = active, aside = redis.call('ZCARD', KEYS[20])}) do
    checked = checked + 1
    if queue[name] ~= number then
      stray('count', name, function() queue[name] = number end)
    end
  end
end

local parts = {
  function() without_body(3, 1) end,
  due_and_aside,
  function() without_body(5, 9) end,
  function() without_result(6) end,
  function() without_result(13) end,
  results_without_place,
  bodies,
  tries,
  keys,
  key_ends,
  notes,
  cancelled,
  effects,
  outbox,
  groups,
  aside,
  counted,
  counts,
}
parts[nth_part]()
if is_changed then
  if #queue.ready > 0 then
    wake(queue, channel, time)
  end
  put_down(queue, time)
  write(queue)
end
local next = cursor ~= '0' and nth_part or (nth_part < #parts and nth_part + 1 or 0)
return {next, cursor, checked, strays}
