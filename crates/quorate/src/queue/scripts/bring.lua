#!lua flags=allow-oom
-- Takes in what happened elsewhere, and gives who says so more to do. Mirrors `QueueState::bring`.
-- KEYS      see library.lua, unique.lua and outbox.lua
-- KEYS[20]  groups that are over, and of which nobody was told, by until when they are kept
-- KEYS[21]  those that somebody is telling of, by until when
-- KEYS[22]  and those behind it: of each group two, see groups.lua
-- ARGV[1]   channel of the queue; it shares its hash tag
-- ARGV[2]   how many effects are wanted
-- ARGV[3]   how many effects were performed; their names
-- ARGV[..]  of how many groups somebody was told; those
-- ARGV[..]  of each member that has ended, five: the group, which pair of keys that has, the member, how it ended, what it leaves (see
--           groups.lua)
-- returns   of each effect, two: its name, what it is
-- atomic    that a member ends is decided by whether it was open, with all that follows for its group: what is said again changes nothing
local channel, want, time, queue = ARGV[1], tonumber(ARGV[2]), now(), read()
local at = 3

local function list()
  local all, from = {}, at
  at = from + 1 + tonumber(ARGV[from])
  for nth = from + 1, at - 1 do
    all[#all + 1] = ARGV[nth]
  end
  return all
end

-- Who waits for the end of a group hears of it; of the others somebody is to be told.
local function announce(groups)
  local untold = {}
  for _, it in ipairs(groups) do
    if it.is_changed and it.is_over then
      if queue.watched > time then
        happen(queue, 'O', it.id, struct.pack('<dddd', it.ends.S, it.ends.D, it.ends.C, it.ends.E))
      end
      if it.awaited > time then
        redis.call('SPUBLISH', channel, 'group-ended ' .. hex(it.id))
      elseif it.keep > 0 then
        add(untold, time + it.keep, it.id)
      end
    end
  end
  announce_events(queue, time)
  return untold
end

local performed, told = list(), list()
local groups, by_id = {}, {}
for nth = at, #ARGV, 5 do
  local id, key = ARGV[nth], 20 + 2 * tonumber(ARGV[nth + 1])
  if not by_id[id] then
    by_id[id] = open_group(id, KEYS[key], KEYS[key + 1])
    groups[#groups + 1] = by_id[id]
  end
  end_member(by_id[id], ARGV[nth + 2], ARGV[nth + 3], ARGV[nth + 4])
end
local untold = announce(groups)
drop_effects(queue, performed)
for _, it in ipairs(groups) do
  if it.is_changed then
    put_group(queue, it, time)
  end
end
if #told > 0 then
  many('ZREM', KEYS[20], told)
  many('ZREM', KEYS[21], told)
end
if #untold > 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[20], '-inf', decimal(time))
  many('ZADD', KEYS[20], untold)
  local last = redis.call('ZRANGE', KEYS[20], -1, -1, 'WITHSCORES')[2]
  redis.call('PEXPIRE', KEYS[20], milliseconds(last - time))
end
local effects = hand_out(queue, time, want)
if #untold > 0 or queue.effects > 0 and first(KEYS[18]) <= time then
  -- Who brings it takes no more than that.
  wake(queue, channel, time)
end
if queue.paused == 0 and is_empty() then
  fade(queue, time)
else
  write(queue)
end
return effects
