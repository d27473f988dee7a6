-- wrk -s post.lua URL -- EVENT [MILLISECONDS]: one event over and over. Each {number} in EVENT becomes 123. Each
-- connection waits so long before a request.
function init(args)
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
  wrk.body = args[1]:gsub("{number}", "123")
  if args[2] then
    function delay() return tonumber(args[2]) end
  end
end
