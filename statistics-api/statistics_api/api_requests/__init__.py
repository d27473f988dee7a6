"""API requests (family 3): the read side, and what records them."""
