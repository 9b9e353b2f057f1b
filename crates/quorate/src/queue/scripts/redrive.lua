#!lua
-- Makes dead jobs ready again, as if they had never been delivered. Mirrors `QueueState::redrive`.
-- KEYS     see library.lua and unique.lua
-- ARGV[1]  channel of the queue; it shares its hash tag
-- ARGV[2]  how many of the first of them; 0: those that are named
-- ARGV[3]  ids
-- returns  a 1 for each that is ready again, a 0 for each that is not dead, as one text
-- atomic   a job leaves one place and is in the next, and who has its uniqueness key is decided with it
local channel, time, queue = ARGV[1], now(), read()
local ids = {}
if ARGV[2] == '0' then
  for nth = 3, #ARGV do
    ids[nth - 2] = ARGV[nth]
  end
else
  ids = redis.call('ZRANGE', KEYS[13], '(' .. decimal(time), '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[2])
end
return redrive(queue, ids, channel, time)
