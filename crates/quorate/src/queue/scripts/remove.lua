#!lua flags=allow-oom
-- Takes jobs away that nobody has. Mirrors `QueueState::remove` and `QueueState::purge`.
-- KEYS     see library.lua, unique.lua, outbox.lua and limits.lua
-- ARGV[1]  channel of the queue; it shares its hash tag
-- ARGV[2]  number of the key of the place of which the first are meant, -4: those of the fourth that are aside; 0: those that are named
-- ARGV[3]  how many of them, or ids
-- returns  of each: 0 there is none, 1 it is gone, 2 somebody has it; as one text
-- atomic   nobody is delivered a job while it is decided that nobody has it
local channel, time, queue = ARGV[1], now(), read()
local ids, replies = {}, {}
if ARGV[2] == '0' then
  for nth = 3, #ARGV do
    ids[nth - 2] = ARGV[nth]
  end
elseif ARGV[2] == '6' or ARGV[2] == '13' then
  -- What nobody has come by to forget counts no more.
  ids = redis.call('ZRANGE', KEYS[tonumber(ARGV[2])], '(' .. decimal(time), '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[3])
elseif ARGV[2] == '-4' then
  ids = redis.call('ZRANGE', KEYS[4], decimal(FIRST_ASIDE), '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[3])
else
  ids = redis.call('ZRANGE', KEYS[tonumber(ARGV[2])], '-inf', '(' .. decimal(FIRST_ASIDE), 'BYSCORE', 'LIMIT', 0, ARGV[3])
end

-- What is over leaves nothing but its place to be left.
local function take_over(id, result, job)
  queue.outdated[#queue.outdated + 1] = id
  forget_notes(queue, id)
  if string.sub(result, 1, 1) == 'D' and job then
    queue.gone, queue.left[#queue.left + 1] = queue.gone + 1, id
    if is_bound(job) then
      queue.bound[#queue.bound + 1] = {id = id, job = job, known_until = time}
    end
  end
end

local jobs, results = values('HMGET', KEYS[2], ids), values('HMGET', KEYS[7], ids)
local ready, due = values('ZMSCORE', KEYS[3], ids), values('ZMSCORE', KEYS[4], ids)
local seen, waiting, asides = {}, {[3] = {}, [4] = {}}, {}
for nth, id in ipairs(ids) do
  local place = ready[nth] and 3 or due[nth] and 4
  replies[nth] = '0'
  if seen[id] then
    -- It was named before.
    replies[nth] = seen[id] == '2' and '2' or '0'
  elseif place and jobs[nth] then
    finish(queue, id, 'C', 0, time, jobs[nth])
    add(waiting[place], id)
    if place == 4 and tonumber(due[nth]) >= FIRST_ASIDE then
      asides[#asides + 1] = aside_member(id, jobs[nth], tonumber(due[nth]))
    end
    replies[nth] = '1'
  elseif results[nth] then
    local kept = string.sub(results[nth], 1, 1) == 'D' and KEYS[13] or KEYS[6]
    replies[nth] = is_after(redis.call('ZSCORE', kept, id), time) and '1' or '0'
    if replies[nth] == '1' and queue.watched > time then
      happen(queue, 'X', id, '')
    end
    take_over(id, results[nth], jobs[nth])
  elseif jobs[nth] then
    replies[nth] = '2'
  end
  seen[id] = replies[nth]
end
announce_ends(queue, channel, time)
for place, list in pairs(waiting) do
  if #list > 0 then
    many('ZREM', KEYS[place], list)
  end
end
drop_aside(queue, asides)
local effects = queue.effects
put_down(queue, time)
if queue.effects > effects then
  wake(queue, channel, time)
end
if queue.paused == 0 and is_empty() then
  fade(queue, time)
else
  write(queue)
end
return table.concat(replies)
