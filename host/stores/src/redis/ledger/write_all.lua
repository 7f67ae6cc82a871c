-- ARGV: eight arguments a write. Answers: 1 written, 0 lost, or why not.
local answers = {}
for first = 1, #ARGV, 8 do
  local answer = write(first, 8)
  if answer == nil then answer = 1 elseif answer == false then answer = 0 end
  answers[#answers + 1] = answer
end
return answers
