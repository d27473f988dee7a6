"""Shares: links that show one view of a project, made and deleted here."""
