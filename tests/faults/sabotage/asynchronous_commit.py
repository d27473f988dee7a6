"""Sabotage: COMMIT returns before the write-ahead log is on disk."""

from servicekit.database import pool as database

# ruff: noqa: SLF001 - sabotage has no public entrance

_durable = "synchronous_commit=on"
assert _durable in database._SESSION, "nothing to sabotage"
database._SESSION = database._SESSION.replace(_durable, "synchronous_commit=off")
