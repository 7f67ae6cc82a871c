-- ARGV: the interval's beginning and end, most messages. Returns of each its id, its record and the
-- size of its message, or with a fourth argument the message itself.
local answer = {}
for _, entry in ipairs(redis.call('XRANGE', kept, ARGV[1], ARGV[2], 'COUNT', ARGV[3])) do
  local fields = entry[2]
  local at = #answer
  answer[at + 1], answer[at + 2] = entry[1], fields[2]
  answer[at + 3] = ARGV[4] and fields[4] or #fields[4]
end
return answer
