-- What every script begins with. `P`, the prefix of all keys, is defined above.
local sessions = P .. 'lovage:sessions'
local schedule = P .. 'lovage:schedule'
local scheduled = P .. 'lovage:scheduled'
local serial = P .. 'lovage:serial'
local counts = P .. 'lovage:deliveries'
local kept = P .. 'lovage:kept'
local removed = P .. 'lovage:kept:removed'

local moment = redis.call('TIME')
local now = moment[1] * 1000 + math.floor(moment[2] / 1000)

local function inflight(session) return P .. 'lovage:inflight:' .. session end

local function alive(session)
  local ends = redis.call('ZSCORE', sessions, session)
  return ends and tonumber(ends) > now
end

-- Sets when a lease ends. A server that is full refuses a script's first write if that needs memory,
-- and none of the later ones; that it is full must end no lease, and keep nobody from emptying it.
local function lease_until(session, moment)
  redis.call('ZREM', sessions, session)
  redis.call('ZADD', sessions, moment, session)
end

local function failure(answer) return type(answer) == 'table' and answer.err or nil end

-- What a session holds is in its hash: under each receipt an entry, and under `next` the number of its
-- next receipt. An entry is `<deliveries> <length of the list's name> <list><message>`: it can be put
-- back without knowing the worker that took it.
--
-- Messages that were moved together, without being looked at, are in a list of their own, the first
-- to be delivered last, and the entry of each is `@<the first one's receipt> <list>`. How many of
-- such a move are still held is in a second hash, under the first one's receipt.
local function pack(deliveries, list, message)
  return deliveries .. ' ' .. #list .. ' ' .. list .. message
end

local function moved(hash, start) return hash .. ':' .. start end

local function moves(hash) return hash .. ':moves' end

-- Deliveries, list and message of an entry, and the start of the move that it is part of, if it is.
local function open(hash, receipt, entry)
  local _, last, start = string.find(entry, '^@(%d+) ')
  if start then
    local message = redis.call('LINDEX', moved(hash, start), string.format('%d', start - receipt - 1))
    return 1, string.sub(entry, last + 1), message or '', start
  end
  local _, last, deliveries, length = string.find(entry, '^(%d+) (%d+) ')
  local list = string.sub(entry, last + 1, last + length)
  return tonumber(deliveries), list, string.sub(entry, last + length + 1)
end

-- Notes that so many of a move are held no more; of the last one, the messages go.
local function leave(hash, start, count)
  if redis.call('HINCRBY', moves(hash), start, -count) <= 0 then
    redis.call('HDEL', moves(hash), start)
    redis.call('DEL', moved(hash, start))
  end
end

local function fingerprint(message)
  if #message > 65536 then
    message = #message .. string.sub(message, 1, 32768) .. string.sub(message, -32768)
  end
  return redis.sha1hex(message)
end

-- Puts a message where it is the next to be delivered, and notes how often it was.
local function give_back(deliveries, list, message)
  local failed = failure(redis.pcall('RPUSH', list, message))
  if failed or deliveries == 0 then return failed end
  redis.call('HSET', counts, fingerprint(message), deliveries)
  if redis.call('HLEN', counts) > 100000 then redis.call('DEL', counts) end
  redis.call('PEXPIRE', counts, 86400000)
end

-- Enters a message in the schedule.
local function enter(due, deliveries, list, message)
  local number = redis.pcall('INCR', serial)
  if failure(number) then return failure(number) end
  local id = string.format('%016.0f', number)
  redis.call('ZADD', schedule, due, id)
  redis.call('HSET', scheduled, id, pack(deliveries, list, message))
end

-- Gives what is due to its queues: the earliest is the next to be delivered. What is no list any
-- more rests for a minute.
local function wake(most)
  local ids = redis.call('ZRANGE', schedule, '-inf', now, 'BYSCORE', 'LIMIT', 0, most)
  if #ids == 0 then return end
  local entries = redis.call('HMGET', scheduled, unpack(ids))
  redis.call('ZREM', schedule, unpack(ids))
  for n = #ids, 1, -1 do
    if entries[n] and give_back(open('', '', entries[n])) then
      redis.call('ZADD', schedule, now + 60000, ids[n])
    else
      redis.call('HDEL', scheduled, ids[n])
    end
  end
end

-- Milliseconds until the next message is due, and its name; -1 and nothing when none is scheduled.
local function next_due()
  local first = redis.call('ZRANGE', schedule, 0, 0, 'WITHSCORES')
  if not first[2] then return -1, '' end
  return math.max(0, first[2] - now), first[1]
end
