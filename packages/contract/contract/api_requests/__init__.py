"""API requests (family 3): one request that a client's own API answered."""
