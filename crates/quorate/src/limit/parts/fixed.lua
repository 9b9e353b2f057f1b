-- A window that begins with its first request. Mirrors `tally/fixed.rs`; N is the number of the policy.
-- a  when the window began, us; b  used
-- section advance
if bN == 0 or aN + windowN <= time then
  aN, bN = time, 0
end
-- section wait
if bN + cost > limitN then
  waitN = aN + windowN - time
end
-- section take
bN = bN + cost
-- section standing
leftN = math.max(limitN - bN, 0)
if bN > 0 then
  resetN = aN + windowN - time
end
-- section back
if bN > 0 and aN <= at and at < aN + windowN then
  bN, given = math.max(bN - cost, 0), 1
end
