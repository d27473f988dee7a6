"""From a client's request to the private service: the same for every kind of event."""
