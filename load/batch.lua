-- 10,000 events a request, the rows that COPY is given: `wrk -s batch.lua URL -- EVENT`, in which NUMBER is a number.
function init(args)
  local event = args[1] or '{"userKey":"user-NUMBER","deviceType":"iOS"}'
  local events = {}
  for number = 0, 9999 do
    events[#events + 1] = event:gsub("NUMBER", number)
  end
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
  wrk.body = "[" .. table.concat(events, ",") .. "]"
end
