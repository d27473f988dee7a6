"""Traces, where an operator has asked for them: the only importer of OpenTelemetry, and nothing of ours is imported."""
