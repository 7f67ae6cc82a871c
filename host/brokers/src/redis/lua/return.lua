-- ARGV: a session that is over, then receipt and message (marked as redelivered), the youngest
-- first: the oldest is the next to be delivered again. Somebody else may have been faster.
if alive(ARGV[1]) then return 0 end
local hash, returned = inflight(ARGV[1]), 0
for at = 2, #ARGV, 2 do
  local entry = redis.call('HGET', hash, ARGV[at])
  if entry then
    local deliveries, list, _, start = open(hash, ARGV[at], entry)
    redis.call('HDEL', hash, ARGV[at])
    if give_back(deliveries, list, ARGV[at + 1]) then
      redis.call('HSET', hash, ARGV[at], entry)
    else
      if start then leave(hash, start, 1) end
      returned = returned + 1
    end
  end
end
return returned
