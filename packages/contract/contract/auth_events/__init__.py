"""Auth events (family 1): one sign-in of one user on one kind of device."""
