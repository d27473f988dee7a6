"""Auth events (family 1): the public side."""
