-- For each publication: its list, the moment before which nobody may have it in ms, the message.
for at = first, first + count - 1, 3 do
  local list, due, message = ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2]
  local failed
  if due > now then
    failed = enter(due, 0, list, message)
  else
    failed = failure(redis.pcall('LPUSH', list, message))
  end
  if failed then return failed end
end
