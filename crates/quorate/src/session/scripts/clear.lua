#!lua flags=allow-oom
-- Removes all sessions of a user but one, and tells of it. Mirrors `Partition::clear`.
-- KEYS[1]  the user's sessions: a hash of records by serial
-- KEYS[2]  their ends: a sorted set of serials (us)
-- ARGV[1]  serial of the one to keep, or ''
-- ARGV[2]  channel to tell it on
-- returns  serials of what was there
-- atomic   a session that is made at the same time is there before, and goes, or comes after
local time = now()
local all, live, ended = redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES'), {}, {}
for i = 1, #all, 2 do
  if tonumber(all[i + 1]) <= time then
    ended[#ended + 1] = all[i]
  elseif all[i] ~= ARGV[1] then
    live[#live + 1] = all[i]
  end
end
tell(ARGV[2], 'deleted', live)
remove(live)
remove(ended)
return live
