#!lua
-- Queues jobs, but those that are known and those whose keys others have. Mirrors `QueueState::push`.
-- KEYS     see library.lua and unique.lua; the 17th, see outbox.lua, where a job belongs to a group
-- ARGV[1]  channel of the queue; it shares its hash tag
-- ARGV[2]  1 if the jobs are alike: to be had at once, of one priority and fairness group, without expiry, uniqueness key or job
--          group, and no id twice; else 0
-- ARGV[3]  their ids; then, of each, what HEAD of library.lua says of it but when it was queued, its expiry counted from now, and
--          what is behind that; then, unless they are alike, in how long each is due, us
-- returns  {a 1 for each that is new, a 0 for each that is known, a 2 for each whose key another has, as one text; ids of those}
-- atomic   whether a job is known, whether its key is free and that it is queued are one decision, and so are its rank and the
--          tag of its group
local channel, are_alike, time, queue = ARGV[1], ARGV[2] == '1', now(), read()
local count = (#ARGV - 2) / (are_alike and 2 or 3)

local function is_any_known()
  for _, key in ipairs({KEYS[2], KEYS[7]}) do
    for _, known in ipairs(redis.call('HMGET', key, unpack(ARGV, 3, count + 2))) do
      if known then
        return true
      end
    end
  end
  return false
end

-- Jobs that are alike, and new: the common case, in which none is looked at but the first.
local function queue_alike()
  local _, _, _, priority, length, _, _, at = struct.unpack(NEW, ARGV[count + 3])
  local group = string.sub(ARGV[count + 3], at, at + length - 1)
  local last = not queue.is_new and redis.call('ZSCORE', KEYS[9], group)
  local tag = math.max(queue.turn, tonumber(last or 0))
  local head, bodies, ready = (priority == 0 and PLAIN or '\0') .. struct.pack('<d', time), queue.bodies, queue.ready
  local rank = tag - priority * HEAD_START
  for nth = 1, count do
    local id = ARGV[nth + 2]
    bodies[nth * 2 - 1], bodies[nth * 2] = id, head .. ARGV[count + nth + 2]
    ready[nth * 2 - 1], ready[nth * 2] = rank + nth, id
  end
  for nth = 1, queue.watched > time and count or 0 do
    happen(queue, 'Q', ARGV[nth + 2], struct.pack('<d', 0))
  end
  queue.tags[group], queue.order[1] = tag + count, group
  return {string.rep('1', count), {}}
end

local function queue_each()
  local new = {}
  for nth = 1, count do
    new[nth] = {ARGV[nth + 2], are_alike and 0 or tonumber(ARGV[count * 2 + nth + 2]), ARGV[count + nth + 2]}
  end
  local replies, same = queue_jobs(queue, new, time)
  return {table.concat(replies), same}
end

if count == 0 then
  return {'', {}}
end
local reply = are_alike and not is_any_known() and queue_alike() or queue_each()
put_down_pushed(queue, channel, time)
return reply
