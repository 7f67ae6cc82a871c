-- ARGV: session, lease in ms, the number of its next receipt.
redis.call('ZADD', sessions, now + ARGV[2], ARGV[1])
redis.call('HSET', inflight(ARGV[1]), 'next', ARGV[3])
return 1
