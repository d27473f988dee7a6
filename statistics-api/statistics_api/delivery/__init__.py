"""The spine of the public service: how whatever a client sends gets to the private service, for every kind of event."""
