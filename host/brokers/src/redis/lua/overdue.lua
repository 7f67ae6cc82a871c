-- ARGV: a session that ends here and now, or nothing for all whose lease is over; the age in ms at
-- which kept messages go. Returns ms until the next thing is due (-1 for never), and of one session
-- that is over its name, and receipt and message of the youngest it holds, the youngest first.
local ended = ARGV[1]
if ended ~= '' and redis.call('ZSCORE', sessions, ended) then lease_until(ended, 0) end
wake(1000)
local gone = redis.call('XTRIM', kept, 'MINID', '~', string.format('%.0f', now - ARGV[2]))
if gone > 0 then redis.call('INCRBY', removed, gone) end
local dead = ended ~= '' and { ended }
  or redis.call('ZRANGE', sessions, '-inf', now, 'BYSCORE', 'LIMIT', 0, 100)
for _, session in ipairs(dead) do
  local hash = inflight(session)
  local receipts = redis.call('HKEYS', hash)
  for n = #receipts, 1, -1 do
    if receipts[n] == 'next' then table.remove(receipts, n) end
  end
  if #receipts == 0 then
    redis.call('DEL', hash, moves(hash))
    redis.call('ZREM', sessions, session)
  else
    table.sort(receipts, function(a, b) return tonumber(a) > tonumber(b) end)
    local found, room = { 0, session }, 8388608
    for n = 1, math.min(#receipts, 500) do
      local _, _, message = open(hash, receipts[n], redis.call('HGET', hash, receipts[n]))
      found[#found + 1], found[#found + 2] = receipts[n], message
      room = room - #message
      if room <= 0 then break end
    end
    return found
  end
end
local due = next_due()
local first = redis.call('ZRANGE', sessions, 0, 0, 'WITHSCORES')
local ends = first[2] and math.max(1, first[2] - now + 1) or -1
if due < 0 or ends >= 0 and ends < due then due = ends end
return { due }
