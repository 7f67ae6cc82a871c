-- ARGV: names.
redis.call('ZREM', due, unpack(ARGV))
return redis.call('HDEL', waiting, unpack(ARGV))
