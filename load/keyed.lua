-- wrk -t1 -s keyed.lua URL -- EVENT RUN SHARE: events of different numbers, each with an Idempotency-Key of its own.
-- SHARE of the requests (0 to 1) repeat the key and the body of an earlier one; with SHARE "none" no request has a key.
-- RUN makes the keys of one run different from those of every other.

-- A key is repeated only when this many newer ones were sent after it, so that its first use has been answered.
local LAG = 512

local head, before_number, after_number, run, share
-- Global: `done` reads them from the thread that has sent the requests.
used, repeated = 0, 0

local sender

local function request_of(number)
  local body = before_number .. number .. after_number
  local key = share and "Idempotency-Key: " .. run .. "-" .. number .. "\r\n" or ""
  return head .. key .. "Content-Length: " .. #body .. "\r\n\r\n" .. body
end

function setup(thread)
  sender = thread
end

function init(args)
  before_number, after_number = args[1]:match("^(.-){number}(.*)$")
  run = args[2]
  share = args[3] ~= "none" and tonumber(args[3]) or nil
  head = "POST " .. wrk.path .. " HTTP/1.1\r\nContent-Type: application/json\r\n"
  for name, value in pairs(wrk.headers) do
    head = head .. name .. ": " .. value .. "\r\n"
  end
end

-- Put together by hand: wrk.format costs the load generator more than the rest of this file.
function request()
  if share and used > LAG and math.random() < share then
    repeated = repeated + 1
    return request_of(math.random(used - LAG))
  end
  used = used + 1
  return request_of(used)
end

function done()
  print("Different events: " .. sender:get("used") .. ", repeated: " .. sender:get("repeated"))
end
