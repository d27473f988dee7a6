"""Auth events (family 1): the write side."""
