"""The private service: the only writer. Faces statistics-api and nobody else."""

from importlib.metadata import version

__version__ = version("device-registration-api")
