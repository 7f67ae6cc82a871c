-- ARGV: session, then the closings. Answers in the same order: 1 done, 0 not this session's (any more)
-- and left alone, or an error's text. What a part has vetoed goes back to its queue: somebody else has
-- the right to the call, but this may be the only message left, and whoever takes it next finds out
-- what has become of it.
local all, answers = closings(2), {}
for first = 1, holding and #all or 0, 1000 do
  local receipts = {}
  for n = first, math.min(first + 999, #all) do receipts[n - first + 1] = all[n].receipt end
  for n, entry in ipairs(redis.call('HMGET', hash, unpack(receipts))) do
    local receipt = receipts[n]
    held[first + n - 1] = entry and not entries[receipt]
    entries[receipt] = entry or nil
  end
end
for n = 1, #all do answers[n] = held[n] and 1 or 0 end
run(all, answers)
local closed, left = {}, {}
for n = 1, #all do
  local receipt = all[n].receipt
  local entry = entries[receipt]
  if answers[n] == 1
    or held[n] and answers[n] == 0 and not give_back(open(hash, receipt, entry)) then
    closed[#closed + 1] = receipt
    left[entry] = (left[entry] or 0) + 1
  end
end
for first = 1, #closed, 1000 do
  redis.call('HDEL', hash, unpack(closed, first, math.min(first + 999, #closed)))
end
for entry, count in pairs(left) do
  local start = string.match(entry, '^@(%d+) ')
  if start then leave(hash, start, count) end
end
return answers
