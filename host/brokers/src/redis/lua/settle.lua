-- ARGV: session, then for each closing its receipt and a group of arguments for each part. Answers
-- in the same order: 1 done, 0 not this session's (any more) and left alone, or an error's text.
-- What a part has vetoed goes back to its queue: somebody else has the right to the call, but this
-- may be the only message left, and whoever takes it next finds out what has become of it.
local answers, at = {}, 2
while at <= #ARGV do
  local receipt = ARGV[at]
  local held = holding and not over[receipt] and redis.call('HEXISTS', hash, receipt) == 1
  local answer
  answer, at = run(at + 1, receipt, held and 1 or 0)
  answers[#answers + 1] = answer
  if held and answer == 0 and not give_back(open(redis.call('HGET', hash, receipt))) then
    over[receipt] = true
    closed[#closed + 1] = receipt
  end
end
for first = 1, #closed, 1000 do
  redis.call('HDEL', hash, unpack(closed, first, math.min(first + 999, #closed)))
end
return answers
