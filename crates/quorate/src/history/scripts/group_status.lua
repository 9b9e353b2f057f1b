#!lua flags=no-writes
-- Where a consumer group stands. Mirrors `Log::group_status`.
-- KEYS[1]  what is known of the messages: a hash of epoch, last
-- KEYS[2]  the group: a hash of epoch, next, origin; or deleted
-- KEYS[3]  what is pending: a sorted set of offset by when it is due
-- ARGV     none
-- returns  {} if there is no group, or {epoch, offset of the last message that was handed out, pending,
--          messages that never were}
-- atomic   the group and the history are one picture
local group = redis.call('HMGET', KEYS[2], 'epoch', 'next')
if not group[1] then
  return {}
end
local known = redis.call('HMGET', KEYS[1], 'epoch', 'last')
local last = tonumber(known[2] or '0')
local handed = group[2] - 1
local lag = last
if known[1] == group[1] then
  lag = last - handed
end
return {group[1], decimal(handed), decimal(redis.call('ZCARD', KEYS[3])), decimal(lag)}
