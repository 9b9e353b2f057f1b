#!lua flags=no-writes
-- Some of the jobs of a place, in its order. Mirrors `QueueState::list`.
-- KEYS     see library.lua
-- ARGV[1]  number of the key of the place; -4: those of the fourth that are aside
-- ARGV[2]  how many at most
-- ARGV[3]  how many bytes of bodies and results, unless the first has more
-- ARGV[4]  score of the last one before them; empty: from the beginning
-- ARGV[5]  that one, as a member
-- returns  {1 if there are more, else 0; of each, six: member, score, job, tries, what became of it (or, of one that is active, 1
--          if it was cancelled), progress; each of the last four may be nothing}
-- atomic   a job goes from one place to the next: none is here twice
local time, queue = now(), read()
local is_aside, nth_key, most, max_page = ARGV[1] == '-4', math.abs(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local key, is_over, is_active = KEYS[nth_key], nth_key == 6 or nth_key == 13, nth_key == 5

-- Byte by byte, whatever the locale of the server.
local function is_before(one, other)
  for at = 1, #one do
    local this, that = string.byte(one, at), string.byte(other, at)
    if this ~= that then
      return this < (that or 0)
    end
  end
  return false
end

-- How many come before it in the set, whether it is still there or not.
local function rank_of(score, member)
  local low, high = redis.call('ZCOUNT', key, '-inf', '(' .. score), redis.call('ZCOUNT', key, '-inf', score)
  while low < high do
    local middle = math.floor((low + high) / 2)
    if is_before(redis.call('ZRANGE', key, middle, middle)[1], member) then
      low = middle + 1
    else
      high = middle
    end
  end
  return low
end

-- The next members and their scores, one more than asked for; of what is over, the latest first.
local function members()
  local from, found = 0, {}
  if is_over then
    from = ARGV[4] == '' and redis.call('ZCARD', key) or rank_of(ARGV[4], ARGV[5])
    if from == 0 then
      return found
    end
    local some = redis.call('ZRANGE', key, math.max(from - most - 1, 0), from - 1, 'WITHSCORES')
    for nth = #some - 1, 1, -2 do
      if tonumber(some[nth + 1]) <= time then
        break
      end
      add(found, some[nth], tonumber(some[nth + 1]))
    end
    return found
  end
  local first_aside = is_aside and redis.call('ZCOUNT', key, '-inf', '(' .. decimal(FIRST_ASIDE)) or 0
  if ARGV[4] ~= '' then
    from = rank_of(ARGV[4], ARGV[5])
    local there = redis.call('ZRANGE', key, from, from, 'WITHSCORES')
    from = from + (there[1] == ARGV[5] and tonumber(there[2]) == tonumber(ARGV[4]) and 1 or 0)
  end
  from = math.max(from, first_aside)
  local some = redis.call('ZRANGE', key, from, from + most, 'WITHSCORES')
  for nth = 1, #some, 2 do
    if nth_key == 4 and not is_aside and tonumber(some[nth + 1]) >= FIRST_ASIDE then
      break
    end
    add(found, some[nth], tonumber(some[nth + 1]))
  end
  return found
end

local function ids_of(found, from, to)
  local ids, notes = {}, {}
  for nth = from, to, 2 do
    local id = is_active and string.sub(found[nth], 9) or found[nth]
    ids[#ids + 1], notes[#notes + 1] = id, id .. 'p'
  end
  return ids, notes
end

local found, page, bytes, listed = members(), {}, 0, 0
for from = 1, #found, 64 do
  -- A few at a time: what is read is large.
  local to = math.min(from + 63, #found)
  local ids, notes = ids_of(found, from, to)
  local jobs = nth_key ~= 6 and values('HMGET', KEYS[2], ids) or {}
  local tries = not (nth_key == 6) and queue.tried > 0 and values('HMGET', KEYS[8], ids) or {}
  local ends = is_over and values('HMGET', KEYS[7], ids)
    or is_active and queue.cancelled > 0 and values('SMISMEMBER', KEYS[11], ids) or {}
  local progress = queue.noted > 0 and values('HMGET', KEYS[16], notes) or {}
  for nth = 1, #ids do
    local job, become, at = jobs[nth], ends[nth], from + nth * 2 - 2
    -- What was evicted is not there.
    if (job or nth_key == 6) and (become or not is_over) then
      bytes = bytes + #(job or '') + (is_over and #become or 0)
      if listed == most or bytes > max_page and listed > 0 then
        return {1, page}
      end
      listed = listed + 1
      for _, part in ipairs({found[at], decimal(found[at + 1]), job or false, tries[nth] or false, become or false,
        progress[nth] or false}) do
        page[#page + 1] = part
      end
    end
  end
end
return {0, page}
