-- Put in front of the scripts by which an instance changes its place on a roster; KEYS and ARGV[1] are theirs.
-- time, instance    now, and who it is about
-- head, ends        what the roster has of it: {epoch, version, at, of}, and the end of its lease; nil without
-- epoch, version    of the roster; '0' and 0 without one
-- before            where the instance stood; '' if it has no members there, or its lease has ended
-- standing(at, of)  the reply
-- field(text)       text as it stands in what is announced
local time = now()
local instance = ARGV[1]
local head = redis.call('HMGET', KEYS[1], 'epoch', 'version', 'at:' .. instance, 'of:' .. instance)
local ends = redis.call('ZSCORE', KEYS[2], instance)
local epoch = head[1] or '0'
local version = tonumber(head[2] or '0')
local before = head[1] and head[3] and ends and tonumber(ends) > time and head[3] or ''
local function standing(at, of)
  local reply = {epoch, decimal(version), at, before, decimal(of), '', ''}
  local first = redis.call('ZRANGE', KEYS[2], 0, 1, 'WITHSCORES')
  for i = 1, #first, 2 do
    if first[i] ~= instance then
      reply[6], reply[7] = first[i], decimal(math.max(first[i + 1] - time, 0))
      break
    end
  end
  return reply
end
local function field(text)
  return #text .. ':' .. text
end
