-- Put in front of every script.
-- now()           server time in us; a test's offset stands in place of the 0
-- decimal(n)      a whole number as text, without an exponent: Lua's own tostring rounds above 2^53
-- milliseconds(n) us as the ms of an expiry, rounded up
local OFFSET = 0
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2] + OFFSET
end
local function decimal(number)
  return string.format('%.0f', number)
end
local function milliseconds(micros)
  return decimal(math.ceil(micros / 1000))
end
