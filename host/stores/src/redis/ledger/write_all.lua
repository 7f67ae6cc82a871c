-- ARGV: four arguments a write. Answers: 1 written, 0 lost, or why not.
local names, answers = {}, {}
for first = 1, #ARGV, 4 do names[#names + 1] = records .. ARGV[first] end
local texts = redis.call('MGET', unpack(names))
for n = 1, #names do
  local answer = write(4 * n - 3, texts[n])
  if answer == nil then answer = 1 elseif answer == false then answer = 0 end
  answers[n] = answer
end
return answers
