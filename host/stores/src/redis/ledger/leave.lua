-- ARGV: session. A negative score tells for a day that it left, so that nobody counts a crash.
if hold(ARGV[1]) > 0 then redis.call('ZADD', sessions, -now, ARGV[1]) end
return 1
