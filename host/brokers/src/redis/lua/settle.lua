-- ARGV: session, then for each closing its receipt and a group of arguments for each part. Answers
-- in the same order: 1 done, 0 not this session's (any more) and left alone, or an error's text.
local answers, at = {}, 2
while at <= #ARGV do
  local receipt = ARGV[at]
  local held = holding and not over[receipt] and redis.call('HEXISTS', hash, receipt) == 1
  answers[#answers + 1], at = run(at + 1, receipt, held and 1 or 0)
end
for first = 1, #closed, 1000 do
  redis.call('HDEL', hash, unpack(closed, first, math.min(first + 999, #closed)))
end
return answers
