-- What storing results needs. `life`, how long they live in seconds, is defined above.
-- Every writer puts the status first, so that nothing has to be parsed; a document that begins in
-- another way is.
local function is_success(stored)
  local status = string.match(stored, '^%s*{%s*"status"%s*:%s*"([^"]*)"')
  if not status and string.find(stored, '^%s*{') then
    local readable, fields = pcall(cjson.decode, stored)
    status = readable and fields.status
  end
  return status == 'SUCCESS'
end

local function set(key, document, kept, ...)
  if kept then return redis.pcall('SET', key, document, 'EX', kept, ...) end
  return redis.pcall('SET', key, document, ...)
end
