-- What every script of the custody begins with. `P`, the prefix of all keys, is defined above.
local due = P .. 'lovage:custody:due'
local waiting = P .. 'lovage:custody:waiting'
local kept = P .. 'lovage:custody:kept'
local digests = P .. 'lovage:custody:digests'

local moment = redis.call('TIME')
local now = moment[1] * 1000 + math.floor(moment[2] / 1000)

local function failure(answer) return type(answer) == 'table' and answer.err or nil end

local function wait(at, name, entry)
  local failed = failure(redis.pcall('HSET', waiting, name, entry))
  if not failed then redis.call('ZADD', due, at, name) end
  return failed
end

-- Deletes a kept message; `fields` are those it has.
local function delete(id, fields)
  redis.call('XDEL', kept, id)
  if redis.call('HGET', digests, fields[8]) == id then redis.call('HDEL', digests, fields[8]) end
end
