-- ARGV: most messages, the loan in ms. Returns ms until the next is due (-1 for never), and of each
-- message that is lent its name, since when it is due in ms, and its entry.
local names = redis.call('ZRANGE', due, '-inf', now, 'BYSCORE', 'LIMIT', 0, ARGV[1], 'WITHSCORES')
local answer = { -1 }
for n = 1, #names, 2 do
  local name = names[n]
  redis.call('ZADD', due, now + ARGV[2], name)
  local entry = redis.call('HGET', waiting, name)
  if entry then
    answer[#answer + 1], answer[#answer + 2] = name, tonumber(names[n + 1])
    answer[#answer + 1] = entry
  else
    redis.call('ZREM', due, name)
  end
end
local first = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')
if first[2] then answer[1] = math.max(0, first[2] - now) end
return answer
