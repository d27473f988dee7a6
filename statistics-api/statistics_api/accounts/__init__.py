"""Accounts as their owners see them: register, log in, and who one is."""
