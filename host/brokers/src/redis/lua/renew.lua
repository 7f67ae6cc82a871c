-- ARGV: session, lease in ms. A lease that is over is over, also when nobody has noticed yet.
if not alive(ARGV[1]) then return 0 end
lease_until(ARGV[1], now + ARGV[2])

-- Of a move that is half over the messages are kept one by one: a call that runs for long keeps no
-- others' in memory. A server that is full is left alone.
local hash = inflight(ARGV[1])
local function part_with(start, held)
  local length = redis.call('LLEN', moved(hash, start))
  if held * 2 > length then return end
  local receipts, entries = {}, {}
  for n = 0, length - 1 do receipts[n + 1] = string.format('%d', start + n) end
  for n, entry in ipairs(redis.call('HMGET', hash, unpack(receipts))) do
    if entry then
      entries[#entries + 1] = receipts[n]
      entries[#entries + 1] = pack(open(hash, receipts[n], entry))
    end
  end
  if #entries > 0 and failure(redis.pcall('HSET', hash, unpack(entries))) then return end
  redis.call('HDEL', moves(hash), start)
  redis.call('DEL', moved(hash, start))
end
local all = redis.call('HGETALL', moves(hash))
for n = 1, #all, 2 do part_with(all[n], tonumber(all[n + 1])) end
return 1
