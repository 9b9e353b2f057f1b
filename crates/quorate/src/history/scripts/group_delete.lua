#!lua flags=allow-oom
-- Removes a consumer group; what is left tells its consumers. Mirrors `Log::delete_group`.
-- KEYS[1]  the group: a hash of epoch, next, origin; or deleted
-- KEYS[2]  what is pending
-- KEYS[3]  what was handed out
-- ARGV[1]  how long what is left is kept, us
-- returns  1 if there was one, or 0
-- atomic   a consumer finds the whole group, or that it was deleted
if redis.call('HEXISTS', KEYS[1], 'epoch') == 0 then
  return 0
end
redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3])
redis.call('HSET', KEYS[1], 'deleted', '1')
redis.call('PEXPIRE', KEYS[1], milliseconds(tonumber(ARGV[1])))
return 1
