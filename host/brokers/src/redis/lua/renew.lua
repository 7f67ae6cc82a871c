-- ARGV: session, lease in ms. A lease that is over is over, also when nobody has noticed yet.
if not alive(ARGV[1]) then return 0 end
lease_until(ARGV[1], now + ARGV[2])
return 1
