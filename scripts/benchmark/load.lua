-- Posts forms, one after the other, and writes down the body of each answer. Arguments: the file of forms, one in each
-- line; the file for the answers; "close" for a new connection each, or "keep".
local requests, at, answers = {}, 0, nil

function init(arguments)
   local headers = { ["Content-Type"] = "application/x-www-form-urlencoded" }
   if arguments[3] == "close" then headers["Connection"] = "close" end
   for form in io.lines(arguments[1]) do
      requests[#requests + 1] = wrk.format("POST", nil, headers, form)
   end
   answers = io.open(arguments[2], "w")
end

function request()
   at = at % #requests + 1
   return requests[at]
end

function response(status, headers, body)
   answers:write(body, "\n")
end

function done(summary, latency)
   local errors = summary.errors
   print(string.format(
      'RESULT {"requests": %d, "seconds": %f, "connect": %d, "read": %d, "write": %d, "timeout": %d, "status": %d, "p50": %f, "p99": %f}',
      summary.requests, summary.duration / 1e6, errors.connect, errors.read, errors.write, errors.timeout,
      errors.status, latency:percentile(50) / 1e6, latency:percentile(99) / 1e6))
end
