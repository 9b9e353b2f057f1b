-- Two counts for a sliding window. Mirrors `tally/counter.rs`; N is the number of the policy.
-- a  when the present window began, us; b  used; c  used in the window before
-- section advance
local thisN = time - time % windowN
if aN ~= thisN then
  cN = aN + windowN == thisN and bN or 0
  aN, bN = thisN, 0
end
-- section wait
if cN * ((windowN - (time - aN)) / windowN) + bN + cost > limitN then
  local passed, room = time - aN, limitN - bN - cost
  waitN = windowN - passed
  if room < 0 then
    local far = windowN - windowN * math.max(limitN - cost, 0) / bN
    waitN = waitN + math.floor(math.max(far, 0)) + 1
  elseif cN > 0 then
    local far = math.floor(math.max(windowN - windowN * room / cN, 0)) + 1
    if far < windowN then
      waitN = math.max(far - passed, 1)
    end
  end
end
-- section take
bN = bN + cost
-- section standing
leftN = math.floor(math.max(limitN - (cN * ((windowN - (time - aN)) / windowN) + bN), 0))
if bN > 0 then
  resetN = aN + 2 * windowN - time
elseif cN > 0 then
  resetN = aN + windowN - time
end
-- section back
local thenN = at - at % windowN
if thenN == aN and bN > 0 then
  bN, given = math.max(bN - cost, 0), 1
elseif thenN + windowN == aN and cN > 0 then
  cN, given = math.max(cN - cost, 0), 1
end
