"""Accounts: registration, log-in, and the tokens that prove who is logged in."""
