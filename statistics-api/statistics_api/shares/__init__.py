"""Shares of a project: made for its owners, and what a token of one shows."""
