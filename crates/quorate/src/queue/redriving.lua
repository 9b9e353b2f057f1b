-- Put behind library.lua and unique.lua, in front of the scripts that make dead jobs ready again.

-- A key that is free, or still its own, is its own for good.
local function take_keys(queue, chosen, bodies, time)
  local keys, owners = {}, {}
  for nth, job in ipairs(bodies) do
    local scope, key = unique_of(job)
    if scope and scope ~= 'T' then
      keys[#keys + 1], owners[#owners + 1] = key, chosen[nth]
    end
  end
  local taken = {}
  for nth, entry in ipairs(values('HMGET', KEYS[14], keys)) do
    local key, id = keys[nth], owners[nth]
    local until_when, holder = struct.unpack(HOLDER, entry or struct.pack(HOLDER, 1, id))
    local is_free = until_when > 0 and until_when <= time
    if not taken[key] and (is_free or holder == id) then
      taken[key] = true
      add(queue.given, key, struct.pack(HOLDER, 0, id))
      queue.given_for_good[#queue.given_for_good + 1] = key
    end
  end
end

-- Makes those ready again that are dead, as if they had never been delivered. Returns a 1 for each of them, a 0 for each other, as one
-- text. Mirrors `QueueState::redrive`.
local function redrive(queue, ids, channel, time)
  local jobs, dead = values('HMGET', KEYS[2], ids), values('ZMSCORE', KEYS[13], ids)
  local chosen, bodies, replies, seen = {}, {}, {}, {}
  for nth, id in ipairs(ids) do
    replies[nth] = '0'
    if jobs[nth] and is_after(dead[nth], time) and not seen[id] then
      seen[id], replies[nth] = true, '1'
      -- It is worth beginning it again, whatever was said of that.
      local queued, keep, _, attempts, priority, group, unique, member, at = head(jobs[nth])
      -- For its job group it has ended.
      local numbers = struct.pack(HEAD, queued, keep, 0, attempts, priority, group, unique, 0)
      local texts = string.sub(jobs[nth], at, at + group + unique - 1)
      local job = string.sub(jobs[nth], 1, 1) .. numbers .. texts .. string.sub(jobs[nth], at + group + unique + member)
      chosen[#chosen + 1], bodies[#bodies + 1] = id, job
    end
  end
  take_keys(queue, chosen, bodies, time)
  look_up_tags(queue, bodies)
  for nth, id in ipairs(chosen) do
    make_ready(queue, id, bodies[nth])
    if queue.watched > time then
      happen(queue, 'B', id, '')
    end
    add(queue.bodies, id, bodies[nth])
  end
  if #chosen > 0 then
    announce_events(queue, time)
    wake(queue, channel, time)
    many('ZREM', KEYS[13], chosen)
    many('HDEL', KEYS[7], chosen)
    queue.tried = queue.tried - many('HDEL', KEYS[8], chosen)
    put_down(queue, time)
    write(queue)
  end
  return table.concat(replies)
end
