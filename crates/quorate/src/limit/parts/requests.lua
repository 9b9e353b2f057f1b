-- Put into the scripts of keys with a log.
-- let_go(head, total, window)  the first request that still counts, what those cost that do, and when it was
-- frees(head, oldest, need)    when the request was with which so much is free
-- taken_back(at, cost)         how much could be taken off the requests of that moment
local function let_go(head, total, window)
  while true do
    local from = HEADER + head * 16
    local batch = redis.call('GETRANGE', KEYS[1], from, from + 1023)
    if batch == '' then
      return head, 0, 0
    end
    for byte = 1, #batch, 16 do
      local when, cost = struct.unpack('<dd', batch, byte)
      if cost > 0 and when + window > time then
        return head, total, when
      end
      head, total = head + 1, total - cost
    end
  end
end
local function frees(head, oldest, need)
  if need <= 1 then
    return oldest
  end
  while true do
    local from = HEADER + head * 16
    local batch = redis.call('GETRANGE', KEYS[1], from, from + 1023)
    if batch == '' then
      return time
    end
    for byte = 1, #batch, 16 do
      local when, cost = struct.unpack('<dd', batch, byte)
      need = need - cost
      if need <= 0 then
        return when
      end
    end
    head = head + 64
  end
end
local function taken_back(at, cost)
  local function request(number)
    local from = HEADER + number * 16
    return struct.unpack('<dd', redis.call('GETRANGE', KEYS[1], from, from + 15))
  end
  local low, high = 0, (redis.call('STRLEN', KEYS[1]) - HEADER) / 16
  while low < high do
    local middle = math.floor((low + high) / 2)
    local when = request(middle)
    if when <= at then
      low = middle + 1
    else
      high = middle
    end
  end
  local left = cost
  while left > 0 and low > 0 do
    low = low - 1
    local when, had = request(low)
    if when ~= at then
      break
    end
    local part = math.min(left, had)
    left = left - part
    redis.call('SETRANGE', KEYS[1], HEADER + low * 16, struct.pack('<dd', when, had - part))
  end
  return cost - left
end
