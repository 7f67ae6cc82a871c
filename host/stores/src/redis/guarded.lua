-- A document, written if what is stored is still what was looked at. ARGV: the key, the document, what
-- was stored ('' is nothing), the seconds that it is kept (0 is for ever).
local stored = redis.call('GET', ARGV[1]) or ''
if stored ~= ARGV[3] then return 0 end
if ARGV[4] == '0' then
  redis.call('SET', ARGV[1], ARGV[2])
else
  redis.call('SETEX', ARGV[1], ARGV[4], ARGV[2])
end
redis.call('PUBLISH', ARGV[1], ARGV[2])
return 1
