-- ARGV: the ids of kept messages. Each waits from now on and is due. Returns how many there were.
local count = 0
for n = 1, #ARGV do
  local found = redis.call('XRANGE', kept, ARGV[n], ARGV[n])[1]
  if found then
    local fields = found[2]
    local entry = '0 ' .. #fields[6] .. ' ' .. fields[6] .. fields[4]
    local failed = wait(now, 'kept ' .. ARGV[n], entry)
    if failed then return failed end
    delete(ARGV[n], fields)
    count = count + 1
  end
end
return count
