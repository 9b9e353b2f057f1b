#!lua flags=allow-oom
-- Removes an entry that has a certain value. Mirrors `Entry::write`.
-- KEYS[1]  the entry: a string
-- KEYS[2]  optional: what is remembered of the write, a string: its fingerprint, and its answer
-- KEYS[3]  (or 2, without that) with a token: the greatest that the entry was written with, a string
-- ARGV[1]  always, absent or equals
-- ARGV[2]  the value that equals asks for
-- ARGV[3]  fingerprint of the write, 8 bytes
-- ARGV[4]  how long it is remembered, ms
-- ARGV[5]  token of who removes, or nothing
-- ARGV[6]  how long it is remembered, ms
-- returns  applied, refused, other, or stale and the greatest token
-- atomic   the look at what was done before and with which token, the comparison and the removal are one decision
local token = ARGV[5]
local fence = token ~= '' and KEYS[#KEYS]
local memory = KEYS[2] ~= fence and KEYS[2]
if memory then
  local done = redis.call('GET', memory)
  if done then
    if string.sub(done, 1, 8) ~= ARGV[3] then
      return 'other'
    end
    -- A write again, for a WAIT behind this to count: the first may have come on another connection.
    redis.call('PEXPIRE', memory, math.max(redis.call('PTTL', memory), 1))
    return string.sub(done, 9)
  end
end
if fence then
  local greatest = redis.call('GET', fence) or '0'
  if #greatest > #token or #greatest == #token and greatest > token then
    return 'stale ' .. greatest
  end
  redis.call('SET', fence, token, 'PX', ARGV[6])
end
local answer = 'refused'
if ARGV[1] == 'always' or ARGV[1] == 'equals' and redis.call('GET', KEYS[1]) == ARGV[2] then
  answer = redis.call('DEL', KEYS[1]) == 1 and 'applied' or 'refused'
end
if memory then
  redis.call('SET', memory, ARGV[3] .. answer, 'PX', ARGV[4])
end
return answer
