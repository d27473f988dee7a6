"""Measurements (family 2): the read side, and what records them."""
