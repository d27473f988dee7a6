"""One round of maintenance of the keyring: unused keys, old peppers, the age of the key-encryption key (KEK)."""

from collections.abc import Callable
from datetime import datetime, timedelta

from device_registration_api.personal.rotation import NOTE_EPOCH
from servicekit.database import Connection
from servicekit.database.sql import execute, fetch_all

# Far longer than any request takes: by then, the person of a key is stored or never will be.
UNUSED_KEYS_KEPT = timedelta(days=1)
PEPPERS_KEPT = timedelta(hours=48)
KEK_AGE_MAX = timedelta(days=30)
BATCH_KEYS = 1_000

UNSEEN_KEYS = """
    SELECT key_id::text
      FROM person_key
     WHERE NOT in_use AND created_at < %(bound)s
     ORDER BY created_at
     LIMIT %(keys)s
"""
KEYS_OF_PEOPLE = "SELECT key_id::text FROM person WHERE key_id = ANY(%(key_ids)s::uuid[])"
NOTE_IN_USE = "UPDATE person_key SET in_use = true WHERE key_id = ANY(%(key_ids)s::uuid[])"
DELETE_UNUSED = "DELETE FROM person_key WHERE key_id = ANY(%(key_ids)s::uuid[]) AND NOT in_use"
DELETE_PEPPERS = "DELETE FROM daily_pepper WHERE day::timestamp AT TIME ZONE 'UTC' < %(bound)s"
EPOCH_BEGAN = "SELECT since FROM key_epoch WHERE kek = %(kek)s"


def keep_up(personal: Connection, keyring: Connection, kek: int, now: datetime, report: Callable[[str], None]) -> None:
    """Run every step once. Raises psycopg2.Error when a server cannot be reached; completed steps stay committed."""
    deleted = _delete_unused_keys(personal, keyring, now - UNUSED_KEYS_KEPT)
    report(f"keyring: {deleted} keys without a person deleted")
    with keyring:
        peppers = execute(keyring, DELETE_PEPPERS, {"bound": now - PEPPERS_KEPT})
        execute(keyring, NOTE_EPOCH, {"kek": kek})
        [since] = fetch_all(keyring, EPOCH_BEGAN, {"kek": kek}, lambda moment: moment)
    report(f"keyring: {peppers} daily peppers older than {PEPPERS_KEPT.total_seconds() / 3600:g} hours deleted")
    if now - since > KEK_AGE_MAX:
        report(
            f"keyring: REMINDER: KEK {kek} is {(now - since).days} days old. Put a new one first in PERSONAL_KEKS, "
            "restart the service, run rotate-keys, and destroy the old one"
        )


def _delete_unused_keys(personal: Connection, keyring: Connection, bound: datetime) -> int:
    """Each key is looked at once; one that has a person is noted, and stays if the table of people is lost."""
    deleted = 0
    while True:
        with keyring:
            unseen = fetch_all(keyring, UNSEEN_KEYS, {"bound": bound, "keys": BATCH_KEYS}, str)
        with personal:
            used = fetch_all(personal, KEYS_OF_PEOPLE, {"key_ids": unseen}, str)
        with keyring:
            execute(keyring, NOTE_IN_USE, {"key_ids": used})
            deleted += execute(keyring, DELETE_UNUSED, {"key_ids": sorted({*unseen} - {*used})})
        if len(unseen) < BATCH_KEYS:
            return deleted
