"""The curl lines of the first document, and the answers that it prints below them."""

EVENT_LINE = """
curl -X POST {base}/Log/auth \\
  -H "Content-Type: application/json" \\
  -d '{body}'
"""
HEALTH_LINE = "curl {base}/health"
HEALTH = '{"status": "ok", "service": "statistics-api"}'
REGISTERED = '{"statusCode": 200, "message": "Device registered successfully"}'

# Each line with its answer, in the document's order. "Log a device authentication event", "Run a few more", "Test
# validation", "Query statistics".
LINES = [
    (HEALTH_LINE, HEALTH),
    (EVENT_LINE.replace("{body}", '{"userKey": "user-123", "deviceType": "iOS"}'), REGISTERED),
    (EVENT_LINE.replace("{body}", '{"userKey": "user-456", "deviceType": "Android"}'), REGISTERED),
    (EVENT_LINE.replace("{body}", '{"userKey": "user-789", "deviceType": "iOS"}'), REGISTERED),
    (
        EVENT_LINE.replace("{body}", '{"userKey": "user-000", "deviceType": "Windows"}'),
        """{"detail": "Invalid deviceType 'Windows'. Allowed values: ['Android', 'TV', 'Watch', 'iOS']"}""",
    ),
    ('curl "{base}/Log/auth/statistics?deviceType=iOS"', '{"deviceType": "iOS", "count": 2}'),
    ('curl "{base}/Log/auth/statistics?deviceType=Android"', '{"deviceType": "Android", "count": 1}'),
]
