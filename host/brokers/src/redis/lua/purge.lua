-- ARGV: the ids of kept messages. Deletes them for good; returns how many there were.
return redis.call('XDEL', kept, unpack(ARGV))
