"""Wraps every person's key again, under the current key-encryption key (KEK), so that an older KEK can be destroyed."""

from collections.abc import Callable, Sequence
from typing import LiteralString, NamedTuple
from uuid import UUID

from device_registration_api.personal.keeper import Keeper, WrappedKey
from device_registration_api.personal.sealing import SealBroken
from servicekit.database import Connection
from servicekit.database.sql import execute, fetch_all

# One transaction locks so many keys, for some milliseconds.
BATCH_KEYS = 500

NOTE_EPOCH = "INSERT INTO key_epoch (kek) VALUES (%(kek)s) ON CONFLICT (kek) DO NOTHING"


class WrappedKeys(NamedTuple):
    """A table of wrapped keys: `what` they are, and the statements over it."""

    what: str
    lock_batch: LiteralString
    store: LiteralString
    count_by_kek: LiteralString


PERSON_KEYS = WrappedKeys(
    what="keys",
    lock_batch="""
        SELECT key_id::text, kek, wrapped
          FROM person_key
         WHERE kek <> %(kek)s AND key_id > %(after)s::uuid
         ORDER BY key_id
         LIMIT %(keys)s
           FOR UPDATE
    """,
    store="UPDATE person_key SET kek = %(kek)s, wrapped = %(wrapped)s WHERE key_id = %(key_id)s::uuid",
    count_by_kek="SELECT kek, count(*) FROM person_key GROUP BY kek ORDER BY kek",
)


class _Row(NamedTuple):
    key_id: str
    kek: int
    wrapped: memoryview


class _Count(NamedTuple):
    kek: int
    keys: int


def rotate_keys(
    keyring: Connection,
    keeper: Keeper,
    report: Callable[[str], None],
    beside: Sequence[tuple[Connection, WrappedKeys]] = (),
) -> bool:
    """Wrap each key under the current KEK, in batches; False when a key is still under another one.

    `beside` are keys in other databases. It may be stopped and repeated at any time, and writers go on beside it. A
    process that still has the old setting may wrap a new key under the old KEK; the count at the end includes it.
    """
    with keyring:
        execute(keyring, NOTE_EPOCH, {"kek": keeper.current})
    everything = [(keyring, PERSON_KEYS), *beside]
    for conn, keys in everything:
        report(f"{_wrap_all(conn, keys, keeper, report)} {keys.what} wrapped under KEK {keeper.current}")
    is_done = True
    for conn, keys in everything:
        with conn:
            found = fetch_all(conn, keys.count_by_kek, {}, _Count)
        for each in found:
            if each.kek != keeper.current:
                report(f"{each.keys} {keys.what} are still under KEK {each.kek}: keep it, and run this command again")
                is_done = False
    if is_done:
        report(f"no key is under another KEK than {keeper.current}: remove others from PERSONAL_KEKS and destroy them")
    return is_done


def _wrap_all(conn: Connection, keys: WrappedKeys, keeper: Keeper, report: Callable[[str], None]) -> int:
    wrapped_again, after = 0, str(UUID(int=0))
    while True:
        with conn:
            bounds = {"kek": keeper.current, "after": after, "keys": BATCH_KEYS}
            batch = fetch_all(conn, keys.lock_batch, bounds, _Row)
            for row in batch:
                wrapped_again += _wrap_again(conn, keys, keeper, row, report)
        if not batch:
            return wrapped_again
        after = batch[-1].key_id


def _wrap_again(conn: Connection, keys: WrappedKeys, keeper: Keeper, row: _Row, report: Callable[[str], None]) -> int:
    key_id = UUID(row.key_id)
    try:
        key = keeper.unwrap(WrappedKey(row.kek, bytes(row.wrapped)), key_id)
    except SealBroken as error:
        report(f"key {row.key_id} is left as it is: {error}")
        return 0
    return execute(conn, keys.store, {"key_id": row.key_id, **keeper.wrap(key, key_id)._asdict()})
