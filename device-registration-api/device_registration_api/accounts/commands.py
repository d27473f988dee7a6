"""Writes of accounts. Callers own the transaction."""

from datetime import datetime
from uuid import UUID

from device_registration_api.accounts.lookups import REGISTRATION_KEYS_KEPT
from servicekit.database import Connection
from servicekit.database.sql import execute

INSERT = """
    INSERT INTO account (account_id, password_hash, is_operator, created_at, updated_at)
    VALUES (%(account_id)s::uuid, %(password_hash)s, %(is_operator)s, %(now)s, %(now)s)
"""
DELETE_OLD_KEY = "DELETE FROM registration_key WHERE digest = %(digest)s AND created_at < %(bound)s"
DELETE_OLD_KEYS = "DELETE FROM registration_key WHERE created_at < %(bound)s"
INSERT_KEY = """
    INSERT INTO registration_key (digest, account_id, created_at)
    VALUES (%(digest)s, %(account_id)s::uuid, %(now)s)
        ON CONFLICT (digest) DO NOTHING
"""
REPLACE_HASH = """
    UPDATE account
       SET password_hash = %(new_hash)s
     WHERE account_id = %(account_id)s::uuid AND password_hash = %(old_hash)s
"""
MAKE_OPERATOR = """
    UPDATE account
       SET is_operator = true, updated_at = %(now)s
     WHERE account_id = %(account_id)s::uuid
"""
SET_ACTIVE = """
    UPDATE account
       SET is_active = %(is_active)s, updated_at = %(now)s
     WHERE account_id = %(account_id)s::uuid
"""


def insert(conn: Connection, account_id: UUID, password_hash: str, now: datetime, *, is_operator: bool) -> None:
    """Store an account beside its person, who has the same id."""
    named = {"account_id": str(account_id), "password_hash": password_hash, "is_operator": is_operator, "now": now}
    execute(conn, INSERT, named)


def insert_key(conn: Connection, account_id: UUID, digest: bytes, now: datetime) -> bool:
    """Store the idempotency key of a registration; False if another registration has the same key."""
    execute(conn, DELETE_OLD_KEY, {"digest": digest, "bound": now - REGISTRATION_KEYS_KEPT})
    return execute(conn, INSERT_KEY, {"digest": digest, "account_id": str(account_id), "now": now}) > 0


def delete_old_keys(conn: Connection, now: datetime) -> None:
    """Delete the idempotency keys of registrations that are no longer compared."""
    execute(conn, DELETE_OLD_KEYS, {"bound": now - REGISTRATION_KEYS_KEPT})


def replace_hash(conn: Connection, account_id: UUID, old_hash: str, new_hash: str) -> None:
    """Store a hash with newer parameters, unless the password has changed meanwhile."""
    execute(conn, REPLACE_HASH, {"account_id": str(account_id), "old_hash": old_hash, "new_hash": new_hash})


def make_operator(conn: Connection, account_id: UUID, now: datetime) -> None:
    """Make an account an operator of the installation."""
    execute(conn, MAKE_OPERATOR, {"account_id": str(account_id), "now": now})


def set_active(conn: Connection, account_id: UUID, now: datetime, *, is_active: bool) -> None:
    """Let an account log in and use its tokens, or stop both."""
    execute(conn, SET_ACTIVE, {"account_id": str(account_id), "is_active": is_active, "now": now})
