-- What runs the parts, which are listed above.
local counts = '>' .. string.rep('I4', #parts)

local function closings(at)
  local all = {}
  while at <= #ARGV do
    local header = ARGV[at]
    local one = { struct.unpack(counts, header) }
    one.receipt, one.at = string.sub(header, one[#parts + 1]), at + 1
    for n = 1, #parts do at = at + one[n] end
    at = at + 1
    all[#all + 1] = one
  end
  return all
end

-- The strings under what `name` says of each closing that `chosen` lists.
local function read(name, closings, chosen)
  local known = {}
  for from = 1, #chosen, 1000 do
    local names = {}
    for n = from, math.min(from + 999, #chosen) do
      local one = closings[chosen[n]]
      names[n - from + 1] = name(one.at, one.count, one.receipt)
    end
    for n, text in ipairs(redis.call('MGET', unpack(names))) do known[from + n - 1] = text end
  end
  return known
end

local function run_part(part, closings, answers, chosen)
  local known = part.name and read(part.name, closings, chosen) or {}
  for n = 1, #chosen do
    local index = chosen[n]
    local one = closings[index]
    if answers[index] == 1 then
      local veto = part.run(one.at, one.count, one.receipt, known[n])
      if veto ~= nil then answers[index] = veto or 0 end
    else
      part.lost(one.at, one.count, one.receipt, known[n])
    end
  end
end

local function run(closings, answers)
  local lost = {}
  for index = 1, #closings do lost[index] = answers[index] == 0 end
  for n = 1, #parts do
    local part, chosen = parts[n], {}
    for index = 1, #closings do
      local one = closings[index]
      one.at, one.count = one.at + (one.count or 0), one[n]
      if one.count > 0 and (answers[index] == 1 or lost[index] and part.lost) then
        chosen[#chosen + 1] = index
      end
    end
    if #chosen > 0 then
      if part.own then redis.call('SELECT', part.own) end
      run_part(part, closings, answers, chosen)
      if part.own then redis.call('SELECT', part.home) end
    end
  end
end
