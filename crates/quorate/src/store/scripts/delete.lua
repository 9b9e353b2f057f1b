#!lua flags=allow-oom
-- Removes an entry that has a certain value. Mirrors `Entry::write`.
-- KEYS[1]  the entry: a string
-- KEYS[2]  optional: what is remembered of the write, a string: its fingerprint, and its answer
-- ARGV[1]  always, absent or equals
-- ARGV[2]  the value that equals asks for
-- ARGV[3]  fingerprint of the write, 8 bytes
-- ARGV[4]  how long it is remembered, ms
-- returns  applied, refused or other
-- atomic   the look at what was done before, the comparison and the removal are one decision
if KEYS[2] then
  local done = redis.call('GET', KEYS[2])
  if done then
    if string.sub(done, 1, 8) ~= ARGV[3] then
      return 'other'
    end
    -- A write again, for a WAIT behind this to count: the first may have come on another connection.
    redis.call('PEXPIRE', KEYS[2], math.max(redis.call('PTTL', KEYS[2]), 1))
    return string.sub(done, 9)
  end
end
local answer = 'refused'
if ARGV[1] == 'always' or ARGV[1] == 'equals' and redis.call('GET', KEYS[1]) == ARGV[2] then
  answer = redis.call('DEL', KEYS[1]) == 1 and 'applied' or 'refused'
end
if KEYS[2] then
  redis.call('SET', KEYS[2], ARGV[3] .. answer, 'PX', ARGV[4])
end
return answer
