-- ARGV: session, the number of its next receipt, most messages, most bytes, then for each share: most
-- messages, how many lists, the lists in order.
-- Takes messages and records them in one step, so that there is no moment in which one exists only
-- in a worker's memory. Returns ms until the next message is due and that one's name in the schedule,
-- then for each message the number of its list, its deliveries and itself, or, if they were moved, the
-- number of the list that all are from; -1 when the session is over, -2 when the number is wrong
-- (then this call was sent before another one that has superseded it).
local hash, start, most, room = inflight(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
if not alive(ARGV[1]) then return -1 end
if redis.call('HGET', hash, 'next') ~= start then return -2 end
if next_due() == 0 then wake(100) end

local counted = redis.call('EXISTS', counts) == 1

-- Moves what the first list with anything has, without a message of it passing through Lua, which would
-- hash every byte. Servers before 7.0 would look at the whole list for that. What is too large is looked
-- at one by one.
local function move(list, length, want)
  local to, count = moved(hash, start), math.min(want, length)
  local range = { string.format('%d', length - count), string.format('%d', count) }
  local got = redis.pcall('SORT', list, 'BY', 'nosort', 'LIMIT', range[1], range[2], 'STORE', to)
  if got ~= count then return end
  local size = redis.pcall('MEMORY', 'USAGE', to, 'SAMPLES', 0)
  if type(size) ~= 'number' or size > room then
    redis.call('DEL', to)
    return
  end
  redis.call('LTRIM', list, 0, string.format('%d', -count - 1))
  local fields, entry, start_number = {}, '@' .. start .. ' ' .. list, tonumber(start)
  for n = 0, count - 1 do
    fields[2 * n + 1], fields[2 * n + 2] = string.format('%d', start_number + n), entry
  end
  fields[2 * count + 1], fields[2 * count + 2] = 'next', string.format('%d', start + count)
  redis.call('HSET', hash, unpack(fields))
  redis.call('HSET', moves(hash), start, string.format('%d', count))
  return true
end

local function first_with_any(from, to)
  for index = from, to do
    local length = redis.pcall('LLEN', ARGV[index])
    if type(length) == 'number' and length > 0 then return index, length end
  end
end

local due, first = next_due()
-- Without a share only what is due is put on its queue.
local alone = ARGV[6] and 6 + tonumber(ARGV[6]) == #ARGV
if alone and most > 0 and not counted and redis.REDIS_VERSION_NUM then
  local index, length = first_with_any(7, #ARGV)
  if not index then return { due, first } end
  if move(ARGV[index], length, math.min(most, tonumber(ARGV[5]))) then return { due, first, index - 7 } end
end

local function deliveries_before(message)
  local mark = counted and fingerprint(message)
  local before = mark and redis.call('HGET', counts, mark)
  if not before then return 0 end
  redis.call('HDEL', counts, mark)
  return tonumber(before)
end

local taken, fields, got = { due, first }, {}, 0
local at, number = 5, 0
while at < #ARGV and got < most and room > 0 do
  local enough, count = math.min(most, got + tonumber(ARGV[at])), tonumber(ARGV[at + 1])
  local from, to = at + 2, at + 1 + count
  -- Of many shares nearly all are empty: they are asked with one call and not one a list.
  local alone = from == 7 and to == #ARGV or count > 1000
  if alone or redis.call('EXISTS', unpack(ARGV, from, to)) > 0 then
    for index = from, to do
      while got < enough and room > 0 do
        local some = redis.pcall('RPOP', ARGV[index], math.min(enough - got, got + 4))
        if not some or some.err then break end
        for n = 1, #some do
          local message = some[n]
          local deliveries = deliveries_before(message) + 1
          fields[2 * got + 1] = string.format('%d', start + got)
          fields[2 * got + 2] = pack(deliveries, ARGV[index], message)
          taken[3 * got + 3], taken[3 * got + 4] = number + index - from, deliveries
          taken[3 * got + 5] = message
          got = got + 1
          room = room - #message
        end
      end
    end
  end
  at, number = to + 1, number + count
end
if got > 0 then
  fields[2 * got + 1], fields[2 * got + 2] = 'next', string.format('%d', start + got)
  redis.call('HSET', hash, unpack(fields))
end
return taken
