"""Reads of accounts."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from device_registration_api.personal.blind_index import IndexedField
from servicekit.database import Connection
from servicekit.database.sql import fetch_all

# Accounts are people of the installation, which is no project.
INSTALLATION = 0
# For this time, a repeat of a registration under its idempotency key gets the first answer.
REGISTRATION_KEYS_KEPT = timedelta(hours=48)

BY_EMAIL = """
    SELECT account.account_id::text, account.password_hash, account.is_active
      FROM person_index
      JOIN account ON account.account_id = person_index.person_id
     WHERE person_index.project_id = %(project_id)s
       AND person_index.field = %(field)s
       AND person_index.digest = ANY(%(digests)s::bytea[])
     LIMIT 1
"""
BY_REGISTRATION_KEY = """
    SELECT account.account_id::text, account.password_hash, account.is_active
      FROM registration_key
      JOIN account USING (account_id)
     WHERE registration_key.digest = %(digest)s AND registration_key.created_at >= %(bound)s
"""
BY_ID = """
    SELECT is_active, is_operator, created_at
      FROM account
     WHERE account_id = %(account_id)s::uuid
"""


class StoredLogin(NamedTuple):
    """What a log-in is compared with."""

    account_id: UUID
    password_hash: str
    is_active: bool


class StoredAccount(NamedTuple):
    """An account without its personal data."""

    is_active: bool
    is_operator: bool
    created_at: datetime


def login_of(conn: Connection, digests: Sequence[bytes]) -> StoredLogin | None:
    """Return the account whose e-mail address has one of these digests."""
    named = {"project_id": INSTALLATION, "field": int(IndexedField.EMAIL), "digests": list(digests)}
    return next(iter(fetch_all(conn, BY_EMAIL, named, _stored_login)), None)


def registered_under(conn: Connection, digest: bytes, now: datetime) -> StoredLogin | None:
    """Return the account that was registered under the idempotency key of this digest."""
    named = {"digest": digest, "bound": now - REGISTRATION_KEYS_KEPT}
    return next(iter(fetch_all(conn, BY_REGISTRATION_KEY, named, _stored_login)), None)


def account_of(conn: Connection, account_id: UUID) -> StoredAccount | None:
    """Return the account with this id."""
    return next(iter(fetch_all(conn, BY_ID, {"account_id": str(account_id)}, StoredAccount)), None)


def _stored_login(account_id: str, password_hash: str, is_active: bool) -> StoredLogin:
    return StoredLogin(UUID(account_id), password_hash, is_active)
