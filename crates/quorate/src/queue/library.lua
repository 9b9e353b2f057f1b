-- Put in front of the scripts of queues. Mirrors `QueueState` and `Fairness`, whose constants these are. A job's id is 16
-- bytes, a delivery its lease number (big-endian double, so that it sorts) and the id; times are us.
-- KEYS[1]   what the queue counts, a string: see NUMBERS
-- KEYS[2]   jobs that may be delivered, a hash by id: see HEAD; fairness group, uniqueness key, job group, input
-- KEYS[3]   who is ready, a sorted set of ids by rank
-- KEYS[4]   who is due, by when; and who is aside until its fairness group has room, by ASIDE and its rank: later than any time
-- KEYS[5]   deliveries by when their leases end
-- KEYS[6]   who has ended, by until when that is kept
-- KEYS[7]   what became of them, and of the dead, a hash by id: S and the result, D and why, C cancelled, E expired
-- KEYS[8]   tries, a hash by id: how many deliveries failed (a double), why the last of them did
-- KEYS[9]   fairness groups by their last tags
-- KEYS[10]  idle workers by until when they count
-- KEYS[11]  active jobs that were cancelled, a set
-- KEYS[12]  jobs whose end is waited for, by until when
-- KEYS[13]  who is dead, by until when that is kept
-- KEYS[16]  what was noted, a hash by id and a letter: p progress, c checkpoint, l log
local MOST_LINES, MAX_LOG = 100, 16384
local MOST_MOVED, HEAD_START = 100, 1000
local PARKED, REMEMBERED, RETENTION, KEEP_DEAD, AWAITED = 10000000, 60000000, 604800000000, 2592000000000, 10000000
local ASIDE, FIRST_ASIDE = 8000000000000000, 7999999999990000
local RAN_OUT = 'its lease ran out'
-- The greatest tag delivered, the last lease number, how many active jobs were cancelled, how many have tries, until when
-- somebody is idle or waits for an end, how many uniqueness keys end by themselves, how many notes there are, how many
-- deliveries failed and were deferred, how many jobs succeeded, died, were cancelled and expired, how many left otherwise, whether
-- it is paused, whether it goes by itself since there are no jobs, how much is to be brought elsewhere, until when somebody
-- listens to what happens, the number of the last batch of that, how many deliveries count for the limits of their groups, how many
-- jobs are aside because of those, whether there may be journals and inboxes. `append.lua` knows where some of them are.
local NUMBERS = '<dddddddddddddddBBdddddB'
-- The checkpoint of who has a journal, or has waited, and none of its own; and of who only was told something before that.
local BEGUN, TOLD = 'null', '0'
-- A line of a log: when, in which attempt, its length, itself.
local LINE = '<dI4I2'
-- Behind a byte that is 1 if the job is plain: has no priority, expiry, uniqueness key or job group. When it was queued, for how
-- long is kept what became of it, until when it is worth beginning it (0: for ever), attempts, priority, length of the fairness
-- group's name, of the uniqueness key with its scope, of the job group (the name of the queue that has it, and its id).
local HEAD, PLAIN = '<ddddBI2I2I2', '\1'
-- The same of a job that is to be queued: all but when that was, its expiry counted from now.
local NEW = '<dddBI2I2I2'

local function read()
  local numbers = redis.call('GET', KEYS[1])
  local it = {tags = {}, grown = {}, order = {}, ready = {}, due = {}, ended = {}, dead = {}, results = {}, tries = {},
    untried = {}, left = {}, over = {}, bodies = {}, outdated = {}, known = {}, bound = {}, held = {}, given = {},
    given_until = {}, given_for_good = {}, reports = {}, place = {}, moved = {}, unnoted = {}, unjournaled = {}, has_begun = {}, happened = {}, not_aside = {},
    ends = {S = 0, D = 0, C = 0, E = 0}}
  if numbers then
    it.turn, it.lease, it.cancelled, it.tried, it.idle, it.awaited, it.timed, it.noted, it.failed, it.deferred, it.ends.S,
      it.ends.D, it.ends.C, it.ends.E, it.gone, it.paused, it.fading, it.effects, it.watched, it.batch,
      it.counted, it.aside, it.journaled = struct.unpack(NUMBERS, numbers)
  else
    -- What tags there are were those of another life.
    it.is_new = true
    it.turn, it.lease, it.cancelled, it.tried, it.idle, it.awaited, it.timed, it.noted = 0, 0, 0, 0, 0, 0, 0, 0
    it.failed, it.deferred, it.gone, it.paused, it.fading, it.effects, it.watched, it.batch = 0, 0, 0, 0, 0, 0, 0, 0
    it.counted, it.aside, it.journaled = 0, 0, 0
  end
  return it
end

local function packed(queue, fading)
  return struct.pack(NUMBERS, queue.turn, queue.lease, queue.cancelled, queue.tried, queue.idle, queue.awaited, queue.timed,
    queue.noted, queue.failed, queue.deferred, queue.ends.S, queue.ends.D, queue.ends.C, queue.ends.E, queue.gone, queue.paused,
    fading, queue.effects, queue.watched, queue.batch, queue.counted, queue.aside,
    queue.journaled)
end

local function write(queue)
  if queue.fading == 1 then
    for _, nth in ipairs({9, 14, 15}) do
      redis.call('PERSIST', KEYS[nth])
    end
  end
  redis.call('SET', KEYS[1], packed(queue, 0))
end

-- A queue without jobs is remembered for a while, and as long as any uniqueness key is held.
local function fade(queue, time)
  local span = RETENTION
  if queue.timed > 0 then
    span = math.max(span, redis.call('ZRANGE', KEYS[15], -1, -1, 'WITHSCORES')[2] - time)
  end
  queue.journaled = 0
  redis.call('SET', KEYS[1], packed(queue, 1), 'PX', milliseconds(span))
  for _, nth in ipairs({9, 14, 15}) do
    redis.call('PEXPIRE', KEYS[nth], milliseconds(span))
  end
end

local function add(list, one, two)
  local at = #list
  list[at + 1], list[at + 2] = one, two
end

local function hex(id)
  return (string.gsub(id, '.', function(byte) return string.format('%02x', string.byte(byte)) end))
end

-- Runs a command with many arguments in parts: `unpack` has an end. Returns the sum of what it answers.
local function many(command, key, list)
  local sum = 0
  for from = 1, #list, 2000 do
    sum = sum + redis.call(command, key, unpack(list, from, math.min(from + 1999, #list)))
  end
  return sum
end

-- What a command says of each of these, in order.
local function values(command, key, list)
  if #list <= 2000 then
    return #list == 0 and {} or redis.call(command, key, unpack(list))
  end
  local all = {}
  for from = 1, #list, 2000 do
    for _, value in ipairs(redis.call(command, key, unpack(list, from, math.min(from + 1999, #list)))) do
      all[#all + 1] = value
    end
  end
  return all
end

-- Whether a score is later than this; nobody has one that is not there.
local function is_after(score, time)
  return score and tonumber(score) > time
end

-- The head of a job: queued, keep, expires, attempts, priority, the lengths of three texts, where the first of them begins.
local function head(job)
  return struct.unpack(HEAD, job, 2)
end

local function group_of(job)
  local _, _, _, _, _, length, _, _, at = head(job)
  return string.sub(job, at, at + length - 1)
end

-- Whether a job has to be read when it ends.
local function is_bound(job)
  local _, _, _, _, _, _, unique, member = head(job)
  return unique > 0 or member > 0
end

-- A lease number, greater than all before it: an odd one if the job is bound, which means that it has to be read when it ends.
-- So a delivery says by its number alone whether that is so, and who settles what is not bound reads no job.
local function next_lease(queue, time, is_bound)
  queue.lease = math.max(queue.lease + 1, time)
  queue.lease = queue.lease + (queue.lease + (is_bound and 1 or 0)) % 2
  return struct.pack('>d', queue.lease)
end

-- Looks up the last tags of the groups of these jobs together. A job that was evicted is none.
local function look_up_tags(queue, jobs)
  local groups, seen = {}, {}
  for _, job in ipairs(jobs) do
    local group = job and group_of(job)
    if job and not seen[group] and not queue.tags[group] then
      seen[group] = true
      groups[#groups + 1] = group
    end
  end
  for nth, last in ipairs(values('ZMSCORE', KEYS[9], groups)) do
    queue.tags[groups[nth]] = queue.is_new and 0 or tonumber(last or 0)
  end
end

-- Puts a job among those that are ready. Its group's tag was looked up.
local function make_ready(queue, id, job)
  local _, _, _, _, priority, length, _, _, at = head(job)
  local group = string.sub(job, at, at + length - 1)
  local tag = math.max(queue.turn, queue.tags[group]) + 1
  queue.tags[group] = tag
  if not queue.grown[group] then
    queue.grown[group] = true
    queue.order[#queue.order + 1] = group
  end
  queue.place[id] = 'ready'
  add(queue.ready, tag - priority * HEAD_START, id)
end

local function make_due(queue, id, at)
  queue.place[id] = 'due'
  add(queue.due, at, id)
  queue.soonest = math.min(queue.soonest or at, at)
end

-- What is kept beside a job. In the same slot, but which jobs those are of which it goes is not known before a script is called.
local function journal_of(id)
  return KEYS[1] .. ':journal:' .. hex(id)
end

local function inbox_of(id)
  return KEYS[1] .. ':inbox:' .. hex(id)
end

-- Forgets what was noted of a job, and its journal and inbox; or only what the next delivery would begin with.
local function forget_notes(queue, id, only_checkpoint)
  if queue.noted > 0 then
    queue.unnoted[#queue.unnoted + 1] = id .. 'c'
    if not only_checkpoint then
      add(queue.unnoted, id .. 'p', id .. 'l')
    end
  end
  if queue.journaled == 1 and not only_checkpoint then
    add(queue.unjournaled, journal_of(id), inbox_of(id))
  end
end

-- The job group of a job: the name of the queue that has it, and its id; nothing if it belongs to none.
local function member_of(job)
  local _, _, _, _, _, group, unique, member, at = head(job)
  if member > 0 then
    return string.sub(job, at + group + unique, at + group + unique + member - 1)
  end
end

-- Puts aside for who listens what has become of a job: a letter, and what goes with that; see `EventBatch`. To be called only
-- while somebody does.
local function happen(queue, letter, id, text)
  queue.happened[#queue.happened + 1] = letter .. id .. struct.pack('<I4', #text) .. text
end

-- Tells who listens, in numbers without a gap.
local function announce_events(queue, time)
  if #queue.happened > 0 then
    queue.batch = queue.batch + 1
    local batch = struct.pack('<dd', queue.batch, time) .. table.concat(queue.happened)
    redis.call('SPUBLISH', KEYS[1] .. ':events', batch)
    queue.happened = {}
  end
end

-- Ends a job as `what`, to be kept for so long. It is out of the place where it was. Of a bound job, the body is needed; `work` is
-- what it leaves, if it does.
local function finish(queue, id, what, keep, time, job, work)
  queue.over[#queue.over + 1] = id
  local letter = string.sub(what, 1, 1)
  local is_dead = letter == 'D'
  queue.ends[letter] = queue.ends[letter] + 1
  queue.known[id], queue.place[id] = is_dead or keep > 0, 'over'
  if queue.watched > time then
    happen(queue, letter, id, is_dead and string.sub(what, 2) or '')
  end
  if job and is_bound(job) then
    queue.bound[#queue.bound + 1] = {id = id, job = job, known_until = time + (is_dead and KEEP_DEAD or keep)}
  end
  local member = job and member_of(job)
  if member or work then
    queue.reports[#queue.reports + 1] =
      {id = id, letter = letter, member = member or work.member, work = work, begins = not member, keep = keep}
  end
  if is_dead then
    add(queue.dead, time + KEEP_DEAD, id)
    add(queue.results, id, what)
    return
  end
  -- What is dead may be wanted again.
  queue.left[#queue.left + 1] = id
  queue.untried[#queue.untried + 1] = id
  forget_notes(queue, id, keep > 0)
  if keep > 0 then
    add(queue.ended, time + keep, id)
    add(queue.results, id, what)
  end
end

-- Announces what has happened, and the ends of jobs that somebody waits for. Before anything is written, here and below, because it is what a
-- user may lack permission for; who hears it can act on it only after the script has ended.
local function announce_ends(queue, channel, time)
  announce_events(queue, time)
  if queue.awaited <= time or #queue.over == 0 then
    queue.over = {}
    return
  end
  local waited = {}
  for nth, until_when in ipairs(values('ZMSCORE', KEYS[12], queue.over)) do
    if until_when then
      waited[#waited + 1] = queue.over[nth]
      if is_after(until_when, time) then
        redis.call('SPUBLISH', channel, 'ended ' .. hex(queue.over[nth]))
      end
    end
  end
  queue.over, queue.unawaited = {}, waited
end

-- Writes who has which uniqueness key: in unique.lua.
local put_keys
-- Writes that members of groups have ended: in outbox.lua.
local put_reports

-- Writes what was put aside.
local function put_down(queue, time)
  if #queue.bound > 0 or #queue.given > 0 then
    put_keys(queue, time)
  end
  if #queue.reports > 0 then
    put_reports(queue, time)
  end
  local put = {{'ZREM', 6, queue.outdated}, {'ZREM', 13, queue.outdated}, {'HDEL', 7, queue.outdated}, {'HDEL', 2, queue.left},
    {'HSET', 2, queue.bodies}, {'ZADD', 3, queue.ready}, {'ZADD', 4, queue.due}, {'ZADD', 6, queue.ended},
    {'ZADD', 13, queue.dead}, {'HSET', 7, queue.results}, {'ZREM', 12, queue.unawaited or {}}}
  for _, one in ipairs(put) do
    if #one[3] > 0 then
      many(one[1], KEYS[one[2]], one[3])
    end
  end
  if #queue.outdated > 0 then
    queue.tried = queue.tried - many('HDEL', KEYS[8], queue.outdated)
  end
  if #queue.unnoted > 0 then
    queue.noted = queue.noted - many('HDEL', KEYS[16], queue.unnoted)
    queue.unnoted = {}
  end
  for from = 1, #queue.unjournaled, 2000 do
    redis.call('UNLINK', unpack(queue.unjournaled, from, math.min(from + 1999, #queue.unjournaled)))
  end
  for _, id in ipairs(queue.has_begun) do
    queue.noted = queue.noted + redis.call('HSETNX', KEYS[16], id .. 'c', BEGUN)
    if redis.call('HGET', KEYS[16], id .. 'c') == TOLD then
      redis.call('HSET', KEYS[16], id .. 'c', BEGUN)
    end
  end
  if #queue.tries > 0 then
    queue.tried = queue.tried + many('HSET', KEYS[8], queue.tries)
  end
  if #queue.untried > 0 and queue.tried > 0 then
    queue.tried = queue.tried - many('HDEL', KEYS[8], queue.untried)
  end
  if #queue.order > 0 then
    local tags = {}
    for _, group in ipairs(queue.order) do
      add(tags, queue.tags[group], group)
    end
    if many('ZADD', KEYS[9], tags) > 0 then
      -- For each that comes, some go that say nothing: the queue has come to them.
      local passed = redis.call('ZRANGE', KEYS[9], '-inf', decimal(queue.turn), 'BYSCORE', 'LIMIT', 0, MOST_MOVED)
      if #passed > 0 then
        redis.call('ZREM', KEYS[9], unpack(passed))
      end
    end
  end
  queue.ready, queue.due, queue.ended, queue.dead, queue.results, queue.left = {}, {}, {}, {}, {}, {}
  for _, id in ipairs(queue.moved) do
    -- It is in one place, however often it was moved.
    for nth, place in pairs({[3] = 'ready', [4] = 'due'}) do
      if queue.place[id] ~= place then
        redis.call('ZREM', KEYS[nth], id)
      end
    end
  end
  queue.bodies, queue.outdated, queue.moved, queue.unjournaled, queue.has_begun = {}, {}, {}, {}, {}
  queue.tries, queue.untried, queue.unawaited, queue.grown, queue.order = {}, {}, nil, {}, {}
end

-- Wakes one who is idle, if there is one.
local function wake(queue, channel, time)
  if queue.paused == 1 or queue.idle <= time then
    return
  end
  local worker = redis.call('ZRANGE', KEYS[10], '(' .. decimal(time), '+inf', 'BYSCORE', 'LIMIT', 0, 1)[1]
  if worker then
    redis.call('SPUBLISH', channel, 'wake ' .. worker)
    redis.call('ZREMRANGEBYSCORE', KEYS[10], '-inf', decimal(time))
    redis.call('ZREM', KEYS[10], worker)
  end
end

-- The score of the first of a sorted set.
local function first(key)
  return tonumber(redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2])
end

-- When the next job is due.
local function first_due()
  local due = first(KEYS[4])
  return due and due < FIRST_ASIDE and due
end

-- Where a job is.
local function place_of(queue, id, time)
  if redis.call('ZSCORE', KEYS[3], id) then
    return {'ready'}
  end
  local due = redis.call('ZSCORE', KEYS[4], id)
  if due then
    due = tonumber(due)
    return due < FIRST_ASIDE and {'due', decimal(due)} or {'limited', decimal(due)}
  end
  local result = redis.call('HGET', KEYS[7], id)
  if result then
    local kept = string.sub(result, 1, 1) == 'D' and KEYS[13] or KEYS[6]
    return is_after(redis.call('ZSCORE', kept, id), time) and {'ended', result}
  end
  if redis.call('HEXISTS', KEYS[2], id) == 1 then
    return {'active', queue.cancelled > 0 and redis.call('SISMEMBER', KEYS[11], id) or 0}
  end
end

-- What all members begin with that are aside and of this fairness group.
local function of_group(group)
  return struct.pack('>I2', #group) .. group
end

-- A job that is aside, ordered by its group and rank.
local function aside_member(id, job, score)
  return of_group(group_of(job)) .. struct.pack('>d', score) .. id
end
