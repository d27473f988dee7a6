"""The only importer of psycopg2 in this package; owns the connection parameters."""

from psycopg2.extensions import connection as Connection  # noqa: N812 - it is a class

__all__ = ["Connection"]
