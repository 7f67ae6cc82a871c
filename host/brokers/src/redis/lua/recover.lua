-- ARGV: session, the number that a lost call began with, the number that the next one begins with.
-- Returns what the lost call took, if it took anything, as reserve.lua does with receipts added and
-- lists by their names; it takes nothing any more, should it arrive only now.
local hash = inflight(ARGV[1])
if not alive(ARGV[1]) then return -1 end
redis.call('HDEL', hash, 'next')
redis.call('HSET', hash, 'next', ARGV[3])
local found = { next_due() }
for number = tonumber(ARGV[2]), ARGV[3] - 1 do
  local receipt = string.format('%d', number)
  local entry = redis.call('HGET', hash, receipt)
  if entry then
    local deliveries, list, message = open(hash, receipt, entry)
    for _, value in ipairs({ number, list, deliveries, message }) do
      found[#found + 1] = value
    end
  end
end
return found
