"""Verifies an API key that a client exchanges for a token."""

from datetime import datetime
from hmac import compare_digest
from typing import NamedTuple

from contract.access import proofs_of
from servicekit.database import Connection
from servicekit.database.sql import fetch_all
from servicekit.errors import CredentialsRefused, Forbidden

# As family 4 says it.
INCORRECT = "Incorrect API Key"
BLOCKED = "Available only for active consumers"

KEYS = """
    SELECT digest, project_id, key_id, project_is_active
      FROM stats.api_key
     WHERE key_id = %(key_id)s
       AND is_active
       AND (expires_at IS NULL OR expires_at > %(now)s)
       AND project_id IN (SELECT project_id FROM stats.project)
"""


class VerifiedKey(NamedTuple):
    """A key that is valid now, and its project."""

    project_id: int
    key_id: str


class _Key(NamedTuple):
    digest: memoryview
    project_id: int
    key_id: str
    project_is_active: bool


def verify_key(conn: Connection, text: str, now: datetime, imported_secret: bytes | None = None) -> VerifiedKey:
    """Return the key with this text; `imported_secret` is that of the system whose keys were imported.

    Raises:
        CredentialsRefused: there is no such key, or it is not valid now.
        Forbidden: the key is right, and its project is blocked.
    """
    for proof in proofs_of(text, imported_secret):
        for each in fetch_all(conn, KEYS, {"key_id": proof.key_id, "now": now}, _Key):
            if compare_digest(bytes(each.digest), proof.digest):
                if not each.project_is_active:
                    raise Forbidden(BLOCKED)
                return VerifiedKey(each.project_id, each.key_id)
    raise CredentialsRefused(INCORRECT)
