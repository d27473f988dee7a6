"""Events of the users of a store (family 4)."""
