-- ARGV: key. Returns the record's text and, where it has a time to live, when that ends.
local name = records .. ARGV[1]
local text, left = redis.call('GET', name), redis.call('PTTL', name)
if not text then return {} end
return { text, left >= 0 and now + left or -1 }
