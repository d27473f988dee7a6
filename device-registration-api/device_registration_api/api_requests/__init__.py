"""API requests (family 3): the write side."""
