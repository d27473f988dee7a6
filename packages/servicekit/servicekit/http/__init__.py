"""Reads one request or writes one response, and keeps nothing."""
