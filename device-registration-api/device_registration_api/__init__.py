"""The private service: the only writer. Its only client is statistics-api."""

from importlib.metadata import version

__version__ = version("device-registration-api")
