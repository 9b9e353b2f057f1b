-- Every request that still counts. Mirrors `tally/log.rs`; N is the number of the policy.
-- a  the number of the oldest request that counts; b  what those cost that do; c  when the oldest was, us
-- Requests stand behind the state, 16 bytes each: when (us), and cost. All logs of a key share them.
-- section advance
if bN > 0 and cN + windowN <= time then
  aN, bN, cN = let_go(aN, bN, windowN)
end
-- section wait
if bN + cost > limitN then
  waitN = frees(aN, cN, bN + cost - limitN) + windowN - time
end
-- section take
if bN == 0 then
  cN = time
end
bN = bN + cost
-- section standing
leftN = math.max(limitN - bN, 0)
if bN > 0 then
  resetN = newest + windowN - time
end
-- section back
if back > 0 and at + windowN > time then
  given = 1
  aN, bN, cN = let_go(aN, bN - back, windowN)
end
