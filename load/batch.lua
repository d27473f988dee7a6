-- wrk -s batch.lua URL -- EVENT: 10,000 events a request, the rows that COPY is given. Each {number} in EVENT is theirs.
function init(args)
  local events = {}
  for number = 0, 9999 do
    events[#events + 1] = args[1]:gsub("{number}", number)
  end
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
  wrk.body = "[" .. table.concat(events, ",") .. "]"
end
