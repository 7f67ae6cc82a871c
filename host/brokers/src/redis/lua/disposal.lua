-- Nothing, which acknowledges; or `R`, the moment in ms (0 for at once), the message; or `K`, the record,
-- most records, and the message as it was first delivered, if that is not the one in hand.
local deliveries, list, message = open(hash, receipt, entries[receipt])
local failed
if ARGV[first] == 'K' then
  if ARGV[first + 3] ~= '' then message = ARGV[first + 3] end
  failed = failure(redis.pcall('XADD', kept, '*', 'record', ARGV[first + 1], 'message', message, 'list', list))
  if not failed then
    local gone = redis.call('XTRIM', kept, 'MAXLEN', ARGV[first + 2])
    if gone > 0 then redis.call('INCRBY', removed, gone) end
  end
elseif tonumber(ARGV[first + 1]) > now then
  failed = enter(tonumber(ARGV[first + 1]), deliveries, list, ARGV[first + 2])
else
  failed = give_back(deliveries, list, ARGV[first + 2])
end
if failed then return failed end
