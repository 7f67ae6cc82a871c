-- ARGV: most kept messages, the age in ms at which they go, then of each message its digest, whether
-- it may be kept already, its queue, its record and its bytes.
for n = 3, #ARGV, 5 do
  local before = ARGV[n + 1] == '1' and redis.call('HGET', digests, ARGV[n])
  if not before or #redis.call('XRANGE', kept, before, before) == 0 then
    local id = redis.pcall('XADD', kept, '*', 'record', ARGV[n + 3], 'message', ARGV[n + 4],
      'queue', ARGV[n + 2], 'digest', ARGV[n])
    if failure(id) then return failure(id) end
    redis.call('HSET', digests, ARGV[n], id)
  end
end
redis.call('XTRIM', kept, 'MAXLEN', ARGV[1])
redis.call('XTRIM', kept, 'MINID', '~', string.format('%.0f', now - ARGV[2]))
-- Digests of what was trimmed stay; they are only ever compared with what is kept.
if redis.call('HLEN', digests) > 2 * ARGV[1] then redis.call('DEL', digests) end
return (#ARGV - 2) / 5
