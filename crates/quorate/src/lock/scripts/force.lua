#!lua flags=allow-oom
-- Takes a lock away from its holders, or from one of them, and says so. Mirrors `LockState::force`.
-- KEYS[1]  the lock, KEYS[2] its queue, KEYS[3] who they are, KEYS[4] until when they count: see library.lua
-- ARGV[1]  token of the holder that is meant; '' for all
-- ARGV[2]  channel of the lock; it shares its hash tag
-- returns  the tokens of those who lost it, as text
-- atomic   who is told to have lost it is who held it, and nobody comes between them and whose turn it is
local only, channel, time = ARGV[1], ARGV[2], now()
local lock = read('', time)
end_leases(lock, time)
local meant = holders(function(_, token)
  return only == '' or token == only
end)
local seen, tokens = {}, {}
for _, entry in ipairs(meant) do
  local token = string.match(entry[2], '^%d+ %d+ (%d+)')
  if not seen[token] then
    seen[token] = true
    tokens[#tokens + 1] = token
  end
end
table.sort(tokens, function(a, b) return tonumber(a) < tonumber(b) end)
if #tokens > 0 then
  redis.call('SPUBLISH', channel, 'forced ' .. table.concat(tokens, ' '))
  remove(lock, meant)
  put(lock, 'forced', tokens[#tokens])
  write(lock, time)
elseif only ~= '' and redis.call('HGET', KEYS[1], 'forced') == only then
  tokens = {only}
end
settle(lock, time, channel)
write(lock, time)
return tokens
