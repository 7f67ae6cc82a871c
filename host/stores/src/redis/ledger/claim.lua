-- ARGV: session, workers that may die, then for each claim its key and what a record of it holds behind
-- the fence: payload, attempt, no crashes, session, ticket.
-- Returns -1 when the session is over. Otherwise an answer a claim: the fence alone when nobody ever
-- claimed it; else { 1, fence, attempt, crashes }, { 2 busy or 3 not yet, remaining },
-- { 4 over, state, settled, fence, verdict }, { 5 stale, attempt, remaining, settled, fence, verdict }
-- or { 6 } for a mismatch.
local session, crashes_max = tonumber(ARGV[1]), tonumber(ARGV[2])
if hold(session) == 0 then return -1 end
local count = (#ARGV - 2) / 2
local names, answers, written, new = {}, {}, {}, {}
for n = 1, count do names[n] = records .. ARGV[2 * n + 1] end
local texts = redis.call('MGET', unpack(names))
local fence = redis.call('INCRBY', fences, count) - count

local function grant(name, tag, payload, attempt, crashes, ticket)
  local text = struct.pack('>BI6c0I4BI6I6', tag, fence, payload, attempt, crashes, session, ticket)
  redis.call('SET', name, text)
  written[name] = text
end

local function answer(name, text, payload, attempt, ticket)
  local tag, before = struct.unpack('>BI6', text)
  local state, settled = tag % 8, math.floor(tag / 8) % 2
  local border = tag % 32 >= 16 and 39 or 11
  local same = string.sub(text, 8, border) == payload
  local fresh = tag - tag % 16 + RUNNING
  if state == RUNNING then
    if not same then return { 6 } end
    local had, crashes, owner, theirs = struct.unpack('>I4BI6I6', text, border + 1)
    if owner == session and theirs == ticket then return { 1, before, had, crashes } end
    local remaining, left = 0, owner == 0
    if not left then remaining, left = hold(owner) end
    if remaining > 0 then return { 2, remaining } end
    if not left then
      crashes = crashes + 1
      if crashes >= crashes_max then
        local parked = struct.pack('>BI6', tag - state + PARKED, fence) .. string.sub(text, 8, border)
        redis.call('SET', name, parked)
        written[name] = parked
        return { 4, PARKED, 0, fence }
      end
    end
    attempt = math.max(attempt, had)
    grant(name, fresh, payload, attempt, crashes, ticket)
    return { 1, fence, attempt, crashes }
  elseif state == RETRY then
    local next, crashes, due = struct.unpack('>I4BI6', text, border + 1)
    if not same and attempt < next then return { 6 } end
    local remaining = math.max(0, due - now)
    if attempt < next then
      local verdict = string.sub(text, border + 12)
      return { 5, next, remaining, settled, before, #verdict > 0 and verdict or nil }
    end
    if remaining > 0 then return { 3, remaining } end
    grant(name, fresh, payload, attempt, crashes, ticket)
    return { 1, fence, attempt, crashes }
  end
  if not same then return { 6 } end
  local verdict = string.sub(text, border + 1)
  return { 4, state, settled, before, #verdict > 0 and verdict or nil }
end

for n = 1, count do
  fence = fence + 1
  local name, claim = names[n], ARGV[2 * n + 2]
  local text = written[name] or texts[n]
  local explicit = #claim > 32
  if text then
    local border = explicit and 32 or 4
    local attempt, _, _, ticket = struct.unpack('>I4BI6I6', claim, border + 1)
    answers[n] = answer(name, text, string.sub(claim, 1, border), attempt, ticket)
  else
    written[name] = struct.pack('>BI6', explicit and 16 or 0, fence) .. claim
    new[#new + 1] = name
    answers[n] = fence
  end
end
if #new > 0 then
  local pairs = {}
  for n = 1, #new do pairs[2 * n - 1], pairs[2 * n] = new[n], written[new[n]] end
  redis.call('MSET', unpack(pairs))
end
return answers
