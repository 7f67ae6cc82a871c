-- ARGV: session, the number of its next receipt, most messages, most bytes, then for each share: most
-- messages, how many lists, the lists in order.
-- Takes messages and records them in one step, so that there is no moment in which one exists only
-- in a worker's memory. Returns ms until the next message is due and that one's name in the schedule,
-- then for each message the number of its list, its deliveries and itself; -1 when the session is over, -2 when the number is wrong
-- (then this call was sent before another one that has superseded it).
local hash, start, most, room = inflight(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
if not alive(ARGV[1]) then return -1 end
if redis.call('HGET', hash, 'next') ~= start then return -2 end
if next_due() == 0 then wake(100) end

local counted = redis.call('EXISTS', counts) == 1
local function deliveries_before(message)
  local mark = counted and fingerprint(message)
  local before = mark and redis.call('HGET', counts, mark)
  if not before then return 0 end
  redis.call('HDEL', counts, mark)
  return tonumber(before)
end

local due, first = next_due()
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
          fields[2 * got + 1] = string.format('%.0f', start + got)
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
  fields[2 * got + 1], fields[2 * got + 2] = 'next', string.format('%.0f', start + got)
  redis.call('HSET', hash, unpack(fields))
end
return taken
