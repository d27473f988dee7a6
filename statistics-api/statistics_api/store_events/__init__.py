"""Events of the users of a store (family 4): the read side, and what records them."""
