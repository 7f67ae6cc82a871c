# Tasks without an SDK, in Ruby: a script that reads JSON and prints JSON. The build packs it with
# ruby.wasm; manifest.json beside this file says which tasks there are.
require "json"

call = JSON.parse($stdin.read)
args, kwargs = call.values_at("args", "kwargs")
argument = ->(position, name) { args.fetch(position) { kwargs[name] } }

case call["task"]
when "conformance.add"
  puts argument[0, "x"] + argument[1, "y"]
when "conformance.echo"
  puts JSON.generate(argument[0, "value"])
when "conformance.fail"
  raise argument[0, "message"]
when "conformance.log"
  warn "a line on standard error"
when "conformance.once"
  puts JSON.generate(call["idempotency_key"])
when "conformance.retry"
  if call["attempt"] <= 2
    puts JSON.generate(retry: { after: argument[0, "after"] || 0.1 })
    exit 75
  end
  puts call["attempt"] - 1
end
