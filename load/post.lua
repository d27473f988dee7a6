-- wrk -s post.lua URL -- EVENT: one event over and over. Each {number} in EVENT becomes 123.
function init(args)
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
  wrk.body = args[1]:gsub("{number}", "123")
end
