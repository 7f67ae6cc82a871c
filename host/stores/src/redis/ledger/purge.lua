-- ARGV: whether the steps go, too; the keys. Returns how many records there were.
local gone = 0
for n = 2, #ARGV do
  gone = gone + redis.call('DEL', records .. ARGV[n])
  if ARGV[1] == '1' then redis.call('DEL', steps .. ARGV[n]) end
end
return gone
