"""Reads one request or writes one response, and keeps no state of either."""

# Imported here, because it has to register its convertor before any router of ours declares a path with a parameter.
from servicekit.http import paths as paths
