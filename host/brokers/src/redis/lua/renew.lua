-- ARGV: session, lease in ms. A lease that is over is over, also when nobody has noticed yet.
if not alive(ARGV[1]) then return 0 end
redis.call('ZADD', sessions, now + ARGV[2], ARGV[1])
return 1
