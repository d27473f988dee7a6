"""A database whose facts are on several nodes: what differs there. Everything else is as on one server."""
