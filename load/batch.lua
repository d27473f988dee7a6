-- 10,000 events a request: the rows that COPY is given.
local events = {}
for number = 0, 9999 do
  events[#events + 1] = '{"userKey":"user-' .. number .. '","deviceType":"iOS"}'
end
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = "[" .. table.concat(events, ",") .. "]"
