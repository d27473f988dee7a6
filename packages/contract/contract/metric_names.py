"""What the names of both services' metrics and attributes of spans begin with, but for those of OpenTelemetry."""

NAMESPACE = "device_statistics"
# How many events a span is of.
EVENTS = f"{NAMESPACE}.events"
