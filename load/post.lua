-- The document's own event, over and over.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"userKey":"user-123","deviceType":"iOS"}'
