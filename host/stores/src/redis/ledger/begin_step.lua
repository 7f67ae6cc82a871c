-- ARGV: key, fence, session, name, input, what is to happen in doubt, the begin's ticket.
-- Returns { value } to replay; 0 run, 1 ambiguous, 2 doubt, 3 mismatch, 4 lost.
-- A step is a field: `B`, six bytes of fence, sixteen of input, six of ticket, one if it was in doubt;
-- or `D`, fence, input, the value.
local name, field = records .. ARGV[1], ARGV[4]
local text = redis.call('GET', name)
if not text then return 4 end
local tag, fence = struct.unpack('>BI6', text)
local border = tag % 32 >= 16 and 39 or 11
if tag % 8 ~= RUNNING or fence ~= tonumber(ARGV[2]) then return 4 end
local owner = struct.unpack('>I6', text, border + 6)
if owner ~= tonumber(ARGV[3]) or hold(owner) == 0 then return 4 end
local hash = steps .. ARGV[1]
local found = redis.call('HGET', hash, field)
if tag < 32 then
  -- From now on the steps last as long as the record; they may be there from before a redrive.
  redis.call('SET', name, string.char(tag + 32) .. string.sub(text, 2))
  redis.call('PERSIST', hash)
end
local answer = 0
if found then
  if string.sub(found, 8, 23) ~= ARGV[5] then return 3 end
  if string.sub(found, 1, 1) == 'D' then return { string.sub(found, 24) } end
  local begun, ticket, doubted = struct.unpack('>I6', found, 2), struct.unpack('>I6B', found, 24)
  if begun == fence and ticket == tonumber(ARGV[7]) then return doubted end
  if ARGV[6] == 'F' then return 2 end
  if ARGV[6] == 'A' then answer = 1 end
end
local mark = struct.pack('>I6B', tonumber(ARGV[7]), answer)
redis.call('HSET', hash, field, 'B' .. struct.pack('>I6', fence) .. ARGV[5] .. mark)
return answer
