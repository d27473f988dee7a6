"""Wraps every person's key again, under the current key-encryption key (KEK), so that an older KEK can be destroyed."""

from collections.abc import Callable
from typing import NamedTuple
from uuid import UUID

from device_registration_api.personal.keeper import Keeper, WrappedKey
from device_registration_api.personal.sealing import SealBroken
from servicekit.database import Connection
from servicekit.database.sql import execute, fetch_all

# One transaction locks so many keys, for some milliseconds.
BATCH_KEYS = 500

NOTE_EPOCH = "INSERT INTO key_epoch (kek) VALUES (%(kek)s) ON CONFLICT (kek) DO NOTHING"
LOCK_BATCH = """
    SELECT key_id::text, kek, wrapped
      FROM person_key
     WHERE kek <> %(kek)s AND key_id > %(after)s::uuid
     ORDER BY key_id
     LIMIT %(keys)s
       FOR UPDATE
"""
STORE = "UPDATE person_key SET kek = %(kek)s, wrapped = %(wrapped)s WHERE key_id = %(key_id)s::uuid"
COUNT_BY_KEK = "SELECT kek, count(*) FROM person_key GROUP BY kek ORDER BY kek"


class _Row(NamedTuple):
    key_id: str
    kek: int
    wrapped: memoryview


class _Count(NamedTuple):
    kek: int
    keys: int


def rotate_keys(conn: Connection, keeper: Keeper, report: Callable[[str], None]) -> bool:
    """Wrap each key under the current KEK, in batches; False when a key is still under another one.

    It may be stopped and repeated at any time, and writers go on beside it. A process that still has the old setting
    may wrap a new key under the old KEK; the count at the end includes it.
    """
    with conn:
        execute(conn, NOTE_EPOCH, {"kek": keeper.current})
    wrapped_again, after = 0, str(UUID(int=0))
    while True:
        with conn:
            bounds = {"kek": keeper.current, "after": after, "keys": BATCH_KEYS}
            batch = fetch_all(conn, LOCK_BATCH, bounds, _Row)
            for row in batch:
                wrapped_again += _wrap_again(conn, keeper, row, report)
        if not batch:
            break
        after = batch[-1].key_id
    report(f"{wrapped_again} keys wrapped under KEK {keeper.current}")
    with conn:
        others = [each for each in fetch_all(conn, COUNT_BY_KEK, {}, _Count) if each.kek != keeper.current]
    for each in others:
        report(f"{each.keys} keys are still under KEK {each.kek}: keep it, and run this command again")
    if not others:
        report(f"no key is under another KEK than {keeper.current}: remove others from PERSONAL_KEKS and destroy them")
    return not others


def _wrap_again(conn: Connection, keeper: Keeper, row: _Row, report: Callable[[str], None]) -> int:
    key_id = UUID(row.key_id)
    try:
        key = keeper.unwrap(WrappedKey(row.kek, bytes(row.wrapped)), key_id)
    except SealBroken as error:
        report(f"key {row.key_id} is left as it is: {error}")
        return 0
    return execute(conn, STORE, {"key_id": row.key_id, **keeper.wrap(key, key_id)._asdict()})
