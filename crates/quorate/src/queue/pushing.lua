-- Put behind library.lua, in front of the scripts that queue jobs.

-- Queues jobs, but those that are known; what is to be written is put aside. Of each: its id; in how long it is due, us; what
-- HEAD says of it but when it was queued, its expiry counted from now, and what is behind that. Returns a 1 for each that is
-- new, a 0 for each that is not. Mirrors `QueueState::queue_jobs`.
local function queue_jobs(queue, new, time)
  local ids, replies, added, bodies = {}, {}, {}, {}
  for nth, it in ipairs(new) do
    ids[nth] = it[1]
  end
  local known, results = values('HMGET', KEYS[2], ids), values('HMGET', KEYS[7], ids)
  for nth, id in ipairs(ids) do
    local is_known = known[nth]
    if results[nth] then
      local kept = string.sub(results[nth], 1, 1) == 'D' and KEYS[13] or KEYS[6]
      is_known = is_after(redis.call('ZSCORE', kept, id), time)
      if not is_known then
        -- Nobody has come by to forget it.
        queue.outdated[#queue.outdated + 1] = id
      end
    end
    -- What this script has put aside is newer.
    if queue.known[id] ~= nil then
      is_known = queue.known[id]
    end
    replies[nth] = '0'
    if not is_known then
      local job = new[nth][3]
      local keep, expires, at = struct.unpack('<dd', job)
      expires = expires > 0 and time + expires or 0
      job = struct.pack('<ddd', time, keep, expires) .. string.sub(job, at)
      replies[nth], queue.known[id] = '1', true
      added[#added + 1] = {id, job, new[nth][2]}
      bodies[#bodies + 1] = job
    end
  end
  look_up_tags(queue, bodies)
  for _, it in ipairs(added) do
    add(queue.bodies, it[1], it[2])
    if it[3] == 0 then
      make_ready(queue, it[1], it[2])
    else
      make_due(queue, it[1], time + it[3])
    end
  end
  return replies
end
