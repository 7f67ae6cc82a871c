-- The body of a function of `first`, `known` (what was read under the record's name, `false` for nothing)
-- and `release` (whether the call is handed back, whatever the arguments say), so that a broker's script
-- can run it, too. Arguments: key; ms to keep the record; fence (6 bytes), change, whether it is settled (1),
-- attempt (4), delay in ms (6); verdict.
-- Returns `false` when the grant is lost, a text when Redis refuses.
local name = records .. ARGV[first]
local text = written[name] or known
if not text then return false end
local tag, fence = struct.unpack('>BI6', text)
local granted, change, settled, attempt, delay = struct.unpack('>I6c1BI4I6', ARGV[first + 2])
if fence ~= granted then return false end
if release then change = 'L' end
settled = settled * 8
local keep, verdict = ARGV[first + 1], ARGV[first + 3]
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
    local due = math.min(clock() + delay, 281474976710655)
    new = string.char(base + RETRY + settled) .. head .. struct.pack('>I4', attempt)
      .. string.sub(text, border + 5, border + 5) .. struct.pack('>I6', due)
      .. (settled == 0 and verdict or '')
  else
    state = change == 'D' and DONE or change == 'F' and FAILED or PARKED
    new = string.char(base + state + settled) .. head
    if settled == 0 or explicit then new = new .. verdict end
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
  done = redis.pcall('SET', name, new, 'PX', keep)
  if tag >= 32 then
    if state ~= DONE and tonumber(keep) < tonumber(steps_kept) then keep = steps_kept end
    redis.pcall('PEXPIRE', steps .. ARGV[first], keep)
  end
else
  done = redis.pcall('SET', name, new)
end
if done.err then return done.err end
written[name] = new
