#!lua flags=allow-oom
-- Takes a lock away from its holders, or from one of them, and says so. Mirrors `LockState::force`.
-- KEYS[1]  the lock, KEYS[2] its queue, KEYS[3] who they are, KEYS[4] until when they count: see library.lua
-- ARGV[1]  token of the holder that is meant; '' for all
-- ARGV[2]  channel of the lock; it shares its hash tag
-- returns  the tokens of those who lost it, in order
-- atomic   who is told to have lost it is who held it, and nobody comes between them and whose turn it is
local only, channel, time = tonumber(ARGV[1]), ARGV[2], now()
local lock = read('', time)
end_leases(lock, time)
local meant = holders(function(_, token)
  return not only or token == only
end)
local seen, tokens, words = {}, {}, {}
for _, entry in ipairs(meant) do
  local _, _, token = holder(entry[2])
  if not seen[token] then
    seen[token] = true
    tokens[#tokens + 1] = token
  end
end
table.sort(tokens)
for nth, token in ipairs(tokens) do
  words[nth] = decimal(token)
end
if #tokens > 0 then
  redis.call('SPUBLISH', channel, 'forced ' .. table.concat(words, ' '))
  remove(lock, meant)
  put(lock, 'forced', words[#words])
elseif only and redis.call('HGET', KEYS[1], 'forced') == ARGV[1] then
  tokens = {only}
end
settle(lock, time, channel)
return answer(lock, time, tokens)
