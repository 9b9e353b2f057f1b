-- Put behind library.lua for scripts in which jobs come or end. Mirrors `Uniques`.
-- KEYS[14]  who has a uniqueness key, a hash by key: until when by itself (a double; 0: for good), id
-- KEYS[15]  those that end by themselves, a sorted set of keys by when
local HOLDER = '<dc16'

-- The uniqueness key of a job: E until it has ended, F until it is forgotten, T for so long, D until somebody has it; the key; us.
local function unique_in(text)
  local scope = string.sub(text, 1, 1)
  if scope == 'T' then
    return scope, string.sub(text, 10), struct.unpack('<d', text, 2)
  end
  return scope, string.sub(text, 2)
end

local function unique_of(job)
  local _, _, _, _, _, group, unique, _, at = head(job)
  if unique > 0 then
    return unique_in(string.sub(job, at + group, at + group + unique - 1))
  end
end

-- Writes who has which key, and which nobody has.
local function put_holders(queue, given, timed, untimed, dropped)
  if #given > 0 then
    many('HSET', KEYS[14], given)
  end
  if #timed > 0 then
    queue.timed = queue.timed + many('ZADD', KEYS[15], timed)
  end
  if #untimed > 0 and queue.timed > 0 then
    queue.timed = queue.timed - many('ZREM', KEYS[15], untimed)
  end
  if #dropped > 0 then
    many('HDEL', KEYS[14], dropped)
  end
end

-- What is left to a job that ended: nothing, or its key until then.
local function kept_until(it, scope, time)
  return scope == 'F' and it.known_until > time and it.known_until
end

-- Takes their keys from jobs that ended, or keeps them with what became of those; then gives them to others.
put_keys = function(queue, time)
  local keys, over, given, timed, dropped = {}, {}, {}, {}, {}
  for _, it in ipairs(queue.bound) do
    local scope, key = unique_of(it.job)
    if scope and scope ~= 'T' then
      it.kept_until = kept_until(it, scope, time)
      keys[#keys + 1], over[#over + 1] = key, it
    end
  end
  for nth, entry in ipairs(values('HMGET', KEYS[14], keys)) do
    local it, key = over[nth], keys[nth]
    if entry and string.sub(entry, 9) == it.id then
      if it.kept_until then
        add(given, key, struct.pack(HOLDER, it.kept_until, it.id))
        add(timed, it.kept_until, key)
      else
        dropped[#dropped + 1] = key
      end
    end
  end
  put_holders(queue, given, timed, dropped, dropped)
  put_holders(queue, queue.given, queue.given_until, queue.given_for_good, {})
  queue.bound, queue.given, queue.given_until, queue.given_for_good = {}, {}, {}, {}
end

-- Forgets the first of those that have ended.
local function forget_keys(queue, time, most)
  if queue.timed > 0 then
    local keys = redis.call('ZRANGE', KEYS[15], '-inf', decimal(time), 'BYSCORE', 'LIMIT', 0, most)
    put_holders(queue, {}, {}, keys, keys)
  end
end
