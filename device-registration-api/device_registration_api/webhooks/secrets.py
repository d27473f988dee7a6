"""The secrets of webhooks, encrypted under the key-encryption keys (KEK) that no database has."""

import os
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from device_registration_api.personal.keeper import Keeper, WrappedKey
from device_registration_api.personal.rotation import WrappedKeys
from device_registration_api.webhooks.signing import SECRET_BYTES, secret_text
from servicekit.database import Connection
from servicekit.database.sql import execute, fetch_all

INSERT = """
    INSERT INTO webhook_secret (project_id, webhook_id, secret_id, kek, wrapped, created_at)
    VALUES (%(project_id)s, %(webhook_id)s::uuid, %(secret_id)s::uuid, %(kek)s, %(wrapped)s, %(created_at)s)
"""
# One that was in its overlap already ends now: there are never more than two.
END = """
    UPDATE webhook_secret
       SET expires_at = CASE WHEN expires_at IS NULL THEN %(ends)s ELSE %(now)s END
     WHERE project_id = %(project_id)s AND webhook_id = %(webhook_id)s::uuid
       AND (expires_at IS NULL OR expires_at > %(now)s)
"""
DELETE_ENDED = """
    DELETE FROM webhook_secret
     WHERE project_id = %(project_id)s AND webhook_id = %(webhook_id)s::uuid AND expires_at <= %(now)s
"""
VALID = """
    SELECT secret_id::text, kek, wrapped
      FROM webhook_secret
     WHERE project_id = %(project_id)s AND webhook_id = %(webhook_id)s::uuid
       AND (expires_at IS NULL OR expires_at > %(now)s)
     ORDER BY created_at DESC, secret_id
"""
# For rotate-keys, which wraps them again as it does with the keys of people.
WRAPPED_SECRETS = WrappedKeys(
    what="secrets of webhooks",
    lock_batch="""
        SELECT secret_id::text, kek, wrapped
          FROM webhook_secret
         WHERE kek <> %(kek)s AND secret_id > %(after)s::uuid
         ORDER BY secret_id
         LIMIT %(keys)s
           FOR UPDATE
    """,
    store="UPDATE webhook_secret SET kek = %(kek)s, wrapped = %(wrapped)s WHERE secret_id = %(key_id)s::uuid",
    count_by_kek="SELECT kek, count(*) FROM webhook_secret GROUP BY kek ORDER BY kek",
)


def create_secret(conn: Connection, keeper: Keeper, project_id: int, webhook_id: UUID, now: datetime) -> str:
    """Store a new secret of a webhook, and return its text, which is nowhere else."""
    secret, secret_id = os.urandom(SECRET_BYTES), uuid4()
    stored = {"project_id": project_id, "webhook_id": str(webhook_id), "secret_id": str(secret_id), "created_at": now}
    execute(conn, INSERT, stored | keeper.wrap(secret, secret_id)._asdict())
    return secret_text(secret)


def rotate_secret(
    conn: Connection, keeper: Keeper, project_id: int, webhook_id: UUID, now: datetime, overlap: timedelta
) -> str:
    """Store the successor of a webhook's secret, and return its text. Both sign until the overlap is over."""
    named = {"project_id": project_id, "webhook_id": str(webhook_id), "now": now, "ends": now + overlap}
    execute(conn, END, named)
    execute(conn, DELETE_ENDED, named)
    return create_secret(conn, keeper, project_id, webhook_id, now)


def valid_secrets(conn: Connection, keeper: Keeper, project_id: int, webhook_id: UUID, now: datetime) -> list[bytes]:
    """Return the secrets that sign now, the newest first. Raises SealBroken."""
    named = {"project_id": project_id, "webhook_id": str(webhook_id), "now": now}
    return [
        keeper.unwrap(WrappedKey(kek, bytes(wrapped)), UUID(secret_id))
        for secret_id, kek, wrapped in fetch_all(conn, VALID, named, _row)
    ]


def _row(secret_id: str, kek: int, wrapped: memoryview) -> tuple[str, int, memoryview]:
    return secret_id, kek, wrapped
