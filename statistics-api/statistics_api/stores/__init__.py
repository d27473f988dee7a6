"""Stores over HTTP, for operators of the installation: reads from `stats`; changes are asked of the private service."""
