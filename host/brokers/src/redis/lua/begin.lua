-- ARGV: session, lease in ms, the number of its next receipt.
lease_until(ARGV[1], now + ARGV[2])
redis.call('HSET', inflight(ARGV[1]), 'next', ARGV[3])
return 1
