-- ARGV: the ids of kept messages. Puts each on the list it came from, as the last to be delivered and
-- as one that never was. Returns how many there were, or the error that ended
-- it early.
local count = 0
for n = 1, #ARGV do
  local found = redis.call('XRANGE', kept, ARGV[n], ARGV[n])[1]
  if found then
    local message, list = found[2][4], found[2][6] or P .. cjson.decode(found[2][2]).queue
    local failed = failure(redis.pcall('LPUSH', list, message))
    if failed then return failed end
    redis.call('XDEL', kept, ARGV[n])
    if redis.call('EXISTS', counts) == 1 then redis.call('HDEL', counts, fingerprint(message)) end
    count = count + 1
  end
end
return count
