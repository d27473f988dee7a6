"""Ranges and buckets of time, for every family."""
