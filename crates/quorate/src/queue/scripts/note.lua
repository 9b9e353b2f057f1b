#!lua
-- Notes something of a job. Mirrors `QueueState::note`.
-- KEYS     see library.lua
-- ARGV[1]  channel of the queue; it shares its hash tag
-- ARGV[2]  the delivery
-- ARGV[3]  p progress, c checkpoint, l a line for the log
-- ARGV[4]  that
-- returns  1 if the delivery still counts, else 0
-- atomic   only who has the job says something of it, and no line of its log is lost
local time, queue = now(), read()
local channel, delivery, kind, said = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local id = string.sub(delivery, 9)
if not is_after(redis.call('ZSCORE', KEYS[5], delivery), time) then
  return 0
end

-- The last lines of a log, this one among them.
local function append(log, line)
  local tries = queue.tried > 0 and redis.call('HGET', KEYS[8], id)
  local attempt = (tries and struct.unpack('<d', tries) or 0) + 1
  log = log .. struct.pack(LINE, time, attempt, #line) .. line
  local starts, length, at = {}, 0, 1
  while at <= #log do
    local _, _, size, from = struct.unpack(LINE, log, at)
    starts[#starts + 1], length, at = at, length + size, from + size
  end
  local first = 1
  while #starts - first + 1 > MOST_LINES or length > MAX_LOG do
    local _, _, size = struct.unpack(LINE, log, starts[first])
    first, length = first + 1, length - size
  end
  return string.sub(log, starts[first])
end

if kind == 'p' and queue.awaited > time and is_after(redis.call('ZSCORE', KEYS[12], id), time) then
  redis.call('SPUBLISH', channel, 'progress ' .. hex(id))
end
if kind == 'l' then
  said = append(redis.call('HGET', KEYS[16], id .. 'l') or '', said)
end
local batch = queue.batch
if kind == 'p' and queue.watched > time then
  happen(queue, 'P', id, '')
  announce_events(queue, time)
end
if redis.call('HSET', KEYS[16], id .. kind, said) > 0 then
  queue.noted = queue.noted + 1
  write(queue)
elseif queue.batch ~= batch then
  write(queue)
end
return 1
