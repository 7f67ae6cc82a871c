-- For each result: its task's id, the seconds that it is kept if they are its own, and its document. A success stays as it is. Every writer puts the
-- status first, so that nothing has to be parsed; a document that begins in another way is.
for at = first, first + count - 1, 3 do
  local key, document = prefix .. ARGV[at], ARGV[at + 2]
  local kept = ARGV[at + 1] ~= '' and ARGV[at + 1] or life
  local stored = redis.pcall('GET', key)
  if type(stored) == 'table' then return stored.err end
  local status = stored and string.match(stored, '^%s*{%s*"status"%s*:%s*"([^"]*)"')
  if stored and not status and string.find(stored, '^%s*{') then
    local readable, fields = pcall(cjson.decode, stored)
    status = readable and fields.status
  end
  if status ~= 'SUCCESS' then
    local written
    if kept then
      written = redis.pcall('SETEX', key, kept, document)
    else
      written = redis.pcall('SET', key, document)
    end
    if written.err then return written.err end
    redis.call('PUBLISH', key, document)
  end
end
