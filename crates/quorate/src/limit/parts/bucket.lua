-- Tokens that come back at a steady rate. Mirrors `tally/bucket.rs`; N is the number of the policy.
-- a  when all that was used has run out, us, rounded up; b  what it was rounded up by; c  what ran out in a us, then
-- section advance
local usedN = math.min(math.max(aN - time, 0) * drainedN, 4503599627370496)
if cN == drainedN then
  usedN = math.max(usedN - bN, 0)
end
-- section wait
local overN = usedN + cost * tokenN - limitN * tokenN
if overN > 0 then
  waitN = rounded_up(overN, drainedN)
end
-- section take
usedN = usedN + cost * tokenN
aN, bN, cN = remembered(usedN, drainedN)
-- section standing
leftN = math.floor(math.max(limitN * tokenN - usedN, 0) / tokenN)
resetN = rounded_up(usedN, drainedN)
-- section back
local backN = math.min(cost * tokenN - math.max(time - at, 0) * drainedN, usedN)
if backN > 0 then
  given = 1
  aN, bN, cN = remembered(usedN - backN, drainedN)
end
