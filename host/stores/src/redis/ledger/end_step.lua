-- ARGV: key, fence, name, `C` to commit or `A` to abandon, the value. Returns 1 ended, 0 lost.
local hash, field, commits = steps .. ARGV[1], ARGV[3], ARGV[4] == 'C'
local found = redis.call('HGET', hash, field)
if not found then return commits and 0 or 1 end
if struct.unpack('>I6', found, 2) ~= tonumber(ARGV[2]) then return 0 end
if string.sub(found, 1, 1) == 'D' then return commits and 1 or 0 end
if commits then
  redis.call('HSET', hash, field, 'D' .. string.sub(found, 2, 23) .. ARGV[5])
else
  redis.call('HDEL', hash, field)
end
return 1
