"""The public service: takes and validates events, answers queries. It writes nothing itself."""

from importlib.metadata import version

__version__ = version("statistics-api")
