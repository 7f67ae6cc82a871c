-- Milliseconds that a session's lease still lasts, 0 when it is over; and whether it left.
local now = clock()
local function hold(session)
  local ends = tonumber(redis.call('ZSCORE', sessions, session) or 0)
  return math.max(0, ends - now), ends < 0
end
