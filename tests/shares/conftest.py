"""Both services with accounts, and an owner."""

from tests.projects.conftest import owner, product

__all__ = ["owner", "product"]
