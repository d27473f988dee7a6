"""Calls of the private service that administer accounts, projects and keys; one call is one attempt."""
