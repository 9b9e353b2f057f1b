#!lua
-- Lets a session live on from now, and gives it. Mirrors `Partition::touch`.
-- KEYS[1]  the user's sessions: a hash of records by serial
-- KEYS[2]  their ends: a sorted set of serials (us)
-- ARGV[1]  serial
-- ARGV[2]  digest of its id, or '' for who need not prove it
-- ARGV[3]  how long it outlives a use from now on, us; 0 for as long as before
-- returns  {now, record}, or nothing
-- atomic   a session that somebody removes must not be written again
local time = now()
local head, record = read(ARGV[1])
if not answers(head, ARGV[2], time) then
  return false
end
local ttl = tonumber(ARGV[3])
local is_other = ttl > 0 and ttl ~= head[5]
if is_other or time - head[3] >= math.min(math.floor(head[5] / 20), 60000000) then
  sweep(time)
  head[3] = math.max(head[3], time)
  head[5] = is_other and ttl or head[5]
  head[4] = ending(head, time)
  local rest = string.sub(record, head[11])
  keep(ARGV[1], head, rest, time)
  record = struct.pack(HEAD, unpack(head, 1, 10)) .. rest
end
return {decimal(time), record}
