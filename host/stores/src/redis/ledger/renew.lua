-- ARGV: session (0 for none yet), lease in ms. Returns the session whose lease now runs: another one
-- when that one's was over, whether or not anybody had noticed.
local session = tonumber(ARGV[1])
if session == 0 or hold(session) == 0 then
  session = redis.call('INCR', last_session)
  local old = now - 86400000
  redis.call('ZREMRANGEBYSCORE', sessions, -old, old)
end
redis.call('ZADD', sessions, now + ARGV[2], session)
return session
