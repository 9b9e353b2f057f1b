#!lua
-- Queues jobs, but those that are known. Mirrors `QueueState::push`.
-- KEYS     see library.lua
-- ARGV[1]  channel of the queue; it shares its hash tag
-- ARGV[2]  of each job, three: its id; in how long it is due, us; what HEAD of library.lua says of it but when it was queued,
--          its expiry counted from now, and what is behind that
-- returns  a 1 for each that is new, a 0 for each that is not, as one text
-- atomic   whether a job is known and that it is queued are one decision, and so are its rank and the tag of its group
local channel, time, queue = ARGV[1], now(), read()
local ids = {}
for nth = 2, #ARGV, 3 do
  ids[#ids + 1] = ARGV[nth]
end
if #ids == 0 then
  return ''
end
local known, results = values('HMGET', KEYS[2], ids), values('HMGET', KEYS[7], ids)
local jobs, fresh, replies, bodies, outdated = {}, {}, {}, {}, {}
for nth, id in ipairs(ids) do
  if results[nth] then
    local kept = string.sub(results[nth], 1, 1) == 'D' and KEYS[13] or KEYS[6]
    known[nth] = is_after(redis.call('ZSCORE', kept, id), time)
    if not known[nth] then
      outdated[#outdated + 1] = id
    end
  end
  if known[nth] or fresh[id] then
    replies[nth] = '0'
  else
    local job = ARGV[nth * 3 + 1]
    local keep, expires, at = struct.unpack('<dd', job)
    expires = expires > 0 and time + expires or 0
    job = struct.pack('<ddd', time, keep, expires) .. string.sub(job, at)
    replies[nth], fresh[id] = '1', true
    jobs[#jobs + 1] = {id, job, tonumber(ARGV[nth * 3])}
    bodies[#bodies + 1] = job
  end
end
look_up_tags(queue, bodies)
local pairs_of = {}
for _, it in ipairs(jobs) do
  add(pairs_of, it[1], it[2])
  if it[3] == 0 then
    make_ready(queue, it[1], it[2])
  else
    make_due(queue, it[1], time + it[3])
  end
end
local before = queue.soonest and first(KEYS[4])
if #queue.ready > 0 or queue.soonest and (not before or queue.soonest <= before) then
  wake(queue, channel, time)
end
if #outdated > 0 then
  -- Nobody has come by to forget them.
  many('ZREM', KEYS[6], outdated)
  many('ZREM', KEYS[13], outdated)
  many('HDEL', KEYS[7], outdated)
  queue.tried = queue.tried - many('HDEL', KEYS[8], outdated)
end
if #pairs_of > 0 then
  many('HSET', KEYS[2], pairs_of)
end
if queue.is_new then
  redis.call('DEL', KEYS[9])
end
put_down(queue)
if queue.is_new or queue.fading == 1 or #outdated > 0 then
  write(queue)
end
return table.concat(replies)
