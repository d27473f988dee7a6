"""Webhooks of a project, as its owners manage them. The private service has them, with their secrets and log."""
