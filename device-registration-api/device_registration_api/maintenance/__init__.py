"""Keeps the tables small and checks the counts: partitions, retention, expiry and `verify-counts`, by catalogue."""
