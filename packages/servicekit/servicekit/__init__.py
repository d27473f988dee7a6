"""Plumbing that both services stand on. No module here knows a word of the domain."""
