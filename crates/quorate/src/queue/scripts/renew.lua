#!lua flags=allow-oom
-- Lets deliveries last longer. Mirrors `QueueState::renew`.
-- KEYS     see library.lua
-- ARGV[1]  length of the lease from now, us
-- ARGV[2]  deliveries
-- returns  of each, as one text: 0 it does not count any more, 1 it lasts longer, 2 so it does, but the job was cancelled
-- atomic   only what still counts is made to last longer
local time, queue, held, ids, lasting, replies = now(), read(), {}, {}, {}, {}
for nth = 2, #ARGV do
  held[nth - 1], ids[nth - 1] = ARGV[nth], string.sub(ARGV[nth], 9)
end
local ends = values('ZMSCORE', KEYS[5], held)
local cancelled = queue.cancelled > 0 and values('SMISMEMBER', KEYS[11], ids) or {}
for nth, one in ipairs(held) do
  replies[nth] = '0'
  if is_after(ends[nth], time) then
    add(lasting, time + ARGV[1], one)
    replies[nth] = cancelled[nth] == 1 and '2' or '1'
  end
end
if #lasting > 0 then
  many('ZADD', KEYS[5], lasting)
end
return table.concat(replies)
