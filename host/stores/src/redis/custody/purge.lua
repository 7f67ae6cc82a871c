-- ARGV: the ids of kept messages. Returns how many there were.
local count = 0
for n = 1, #ARGV do
  local found = redis.call('XRANGE', kept, ARGV[n], ARGV[n])[1]
  if found then
    delete(ARGV[n], found[2])
    count = count + 1
  end
end
return count
