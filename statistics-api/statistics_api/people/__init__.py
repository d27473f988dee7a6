"""Persons of projects: users of family 2, and of the stores of family 4."""
