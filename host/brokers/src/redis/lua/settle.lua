-- ARGV: session, then the closings. Answers in the same order: 1 done, 0 not this session's (any more)
-- and left alone, or an error's text. What a part has vetoed goes back to its queue: somebody else has
-- the right to the call, but this may be the only message left, and whoever takes it next finds out
-- what has become of it.
local all, answers, held, seen = closings(2), {}, {}, {}
for n = 1, #all do
  local receipt = all[n].receipt
  held[n] = holding and not seen[receipt] and redis.call('HEXISTS', hash, receipt) == 1
  seen[receipt] = true
  answers[n] = held[n] and 1 or 0
end
run(all, answers)
local closed = {}
for n = 1, #all do
  local receipt = all[n].receipt
  if answers[n] == 1
    or held[n] and answers[n] == 0 and not give_back(open(redis.call('HGET', hash, receipt))) then
    closed[#closed + 1] = receipt
  end
end
for first = 1, #closed, 1000 do
  redis.call('HDEL', hash, unpack(closed, first, math.min(first + 999, #closed)))
end
return answers
