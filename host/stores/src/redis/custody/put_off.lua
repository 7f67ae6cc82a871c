-- ARGV: of each message the moment in ms, its name and its entry.
for n = 1, #ARGV, 3 do
  local failed = wait(ARGV[n], ARGV[n + 1], ARGV[n + 2])
  if failed then return failed end
end
return #ARGV / 3
