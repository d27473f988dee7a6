"""What the names of both services' metrics begin with, but for those that OpenTelemetry names."""

NAMESPACE = "device_statistics"
