-- For each result: its task's id and its document. A success stays as it is. Every writer puts the
-- status first, so that nothing has to be parsed; a document that begins in another way is.
for at = first, first + count - 1, 2 do
  local key, document = prefix .. ARGV[at], ARGV[at + 1]
  local stored = redis.pcall('GET', key)
  if type(stored) == 'table' then return stored.err end
  local status = stored and string.match(stored, '^%s*{%s*"status"%s*:%s*"([^"]*)"')
  if stored and not status and string.find(stored, '^%s*{') then
    local readable, fields = pcall(cjson.decode, stored)
    status = readable and fields.status
  end
  if status ~= 'SUCCESS' then
    local written
    if life then
      written = redis.pcall('SETEX', key, life, document)
    else
      written = redis.pcall('SET', key, document)
    end
    if written.err then return written.err end
    redis.call('PUBLISH', key, document)
  end
end
