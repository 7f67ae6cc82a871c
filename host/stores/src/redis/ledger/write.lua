-- The body of a function of `first`, `count` and `release` (whether the call is handed back, whatever the
-- arguments say), so that a broker's script can run it, too. Arguments: key, fence, change, ms to keep
-- the record, whether it is settled, verdict, attempt, delay in ms.
-- Returns `false` when the grant is lost, a text when Redis refuses.
if count == 0 then return end
local name = records .. ARGV[first]
local text = redis.call('GET', name)
if not text then return false end
local tag, fence = struct.unpack('>BI6', text)
if fence ~= tonumber(ARGV[first + 1]) then return false end
local keep, verdict = tonumber(ARGV[first + 3]), ARGV[first + 5]
local change = release and 'L' or ARGV[first + 2]
local settled = ARGV[first + 4] == '1' and 8 or 0
local state, explicit = tag % 8, tag % 32 >= 16
local border = explicit and 39 or 11
local base, head = tag - tag % 16, string.sub(text, 2, border)
local new
if state == RUNNING then
  if change == 'S' then
    return false
  elseif change == 'L' then
    new = string.sub(text, 1, border + 5) .. '\0\0\0\0\0\0' .. string.sub(text, border + 12)
  elseif change == 'R' then
    local due = math.min(clock() + tonumber(ARGV[first + 7]), 281474976710655)
    new = string.char(base + RETRY + settled) .. head .. struct.pack('>I4', tonumber(ARGV[first + 6]))
      .. string.sub(text, border + 5, border + 5) .. struct.pack('>I6', due)
      .. (settled == 0 and verdict or '')
  else
    state = change == 'D' and DONE or change == 'F' and FAILED or PARKED
    new = string.char(base + state + settled) .. head
      .. ((settled == 0 or explicit) and verdict or '')
  end
elseif tag % 16 < 8 and change ~= 'L' and (change == 'S' or settled == 8) then
  settled = 8
  new = string.char(tag + 8)
    .. (state == RETRY and string.sub(text, 2, border + 11) or explicit and string.sub(text, 2) or head)
else
  return
end
local done
if state >= DONE and settled == 8 then
  done = redis.pcall('SET', name, new, 'PX', math.max(1, keep))
  if tag >= 32 then
    if state ~= DONE then keep = math.max(keep, steps_kept) end
    redis.pcall('PEXPIRE', steps .. ARGV[first], math.max(1, keep))
  end
else
  done = redis.pcall('SET', name, new)
end
if type(done) == 'table' and done.err then return done.err end
