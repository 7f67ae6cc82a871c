-- Celery's own rules, so that workers of both kinds may count the same chord.
-- KEYS are made of ARGV[2], the key of the group. Verbs: `S` start, `J` join, `C` count, `H` hold, `E` end.
local base, life = ARGV[2], tonumber(ARGV[3])
local size, extra, entries = base .. '.s', base .. '.t', base .. '.j'
local counted, claim = base .. '.d', base .. '.c'
local function keep(key)
  if life > 0 then redis.call('EXPIRE', key, life) end
end
if ARGV[1] == 'S' then
  if redis.call('GET', claim) ~= 'done' then
    redis.call('SET', size, ARGV[4])
    keep(size)
  end
  return 0
elseif ARGV[1] == 'J' then
  -- Celery counts up and no more; a repetition must not.
  local joined = base .. '.joined'
  if redis.call('SADD', joined, ARGV[4]) == 1 then redis.call('INCR', extra) end
  keep(joined)
  keep(extra)
  return 0
elseif ARGV[1] == 'H' then
  if redis.call('GET', claim) == ARGV[4] then redis.call('EXPIRE', claim, ARGV[5]) end
  return 0
elseif ARGV[1] == 'E' then
  if redis.call('GET', claim) ~= ARGV[4] then return 0 end
  if ARGV[5] == '1' then
    redis.call('DEL', size)
  else
    redis.call('DEL', entries, extra, size, counted, base .. '.joined')
  end
  redis.call('SET', claim, 'done', 'EX', 300)
  return 0
end
-- Count: the member (id:index), its place, its entry, a token, the seconds it is good for, whether the
-- results are to be in the members' order.
if redis.call('GET', claim) == 'done' then return 0 end
-- Workers with `result_chord_ordered` off keep a list; what is there already says so, whatever is
-- said here.
local kind = redis.call('TYPE', entries)['ok']
local unordered = kind == 'list' or kind == 'none' and ARGV[9] == '0'
if redis.call('SADD', counted, ARGV[4]) == 1 then
  if unordered then
    redis.call('RPUSH', entries, ARGV[6])
  else
    redis.call('ZADD', entries, ARGV[5], ARGV[6])
  end
end
for _, key in ipairs({entries, counted, extra, size}) do keep(key) end
local wanted = tonumber(redis.call('GET', size) or '-1')
if wanted < 0 then return 0 end
wanted = wanted + tonumber(redis.call('GET', extra) or '0')
local here = unordered and redis.call('LLEN', entries) or redis.call('ZCARD', entries)
if here < wanted then return 0 end
if not redis.call('SET', claim, ARGV[7], 'NX', 'EX', ARGV[8]) then return 1 end
-- Behind the entries what the sender noted of groups among the members, if it did.
local all = redis.call(unordered and 'LRANGE' or 'ZRANGE', entries, 0, -1)
return {all, redis.call('GET', base) or nil}
