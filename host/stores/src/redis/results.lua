-- For each result: its task's id, the seconds that it is kept if they are its own, and its document. A
-- success stays as it is.
for at = first, first + count - 1, 3 do
  local key, kept, document = prefix .. ARGV[at], ARGV[at + 1], ARGV[at + 2]
  if kept == '' then kept = life end
  -- Nearly always nothing is there.
  local written = set(key, document, kept, 'NX')
  if not written then
    local stored = redis.pcall('GET', key)
    if type(stored) == 'table' then return stored.err end
    written = not is_success(stored) and set(key, document, kept)
  end
  if written then
    if written.err then return written.err end
    redis.call('PUBLISH', key, document)
  end
end
