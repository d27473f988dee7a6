"""Sabotage: COMMIT returns before the write-ahead log is on disk."""

from servicekit.database import connection_string

# ruff: noqa: SLF001 - sabotage has no public entrance

_durable = "synchronous_commit=on"
assert _durable in connection_string._SESSION, "nothing to sabotage"
connection_string._SESSION = connection_string._SESSION.replace(_durable, "synchronous_commit=off")
