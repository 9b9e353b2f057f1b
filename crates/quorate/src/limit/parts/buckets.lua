-- Put into the scripts of keys with a token bucket.
-- rounded_up(number, by)     how often `by` has to be taken to have the number: whole, where a division would round
-- remembered(used, drained)  what is remembered of what was used: see bucket.lua
local function rounded_up(number, by)
  local whole = math.floor(number / by)
  return whole * by < number and whole + 1 or whole
end
local function remembered(used, drained)
  local left = rounded_up(used, drained)
  return time + left, left * drained - used, drained
end
