"""A batch as COPY reads it in its binary format: PostgreSQL's documentation, COPY, "Binary Format".

Every field is preceded by its length, so nothing that a client sends can end one, or begin another: there is nothing to
escape. The server reads two thirds more rows a second than as text, because it parses no times and no ids.
"""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from itertools import compress
from uuid import UUID

from contract.delivery import BATCH_ITEMS_MAX
from contract.registrations import EVENT_ID_DIGITS, ForwardedBatch
from contract.text import TEXT_CHARACTERS_MAX

# Signature, no flags, no extension of the header; a row of -1 fields ends the data.
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(4) + bytes(4)
TRAILER = b"\xff\xff"

_COLUMNS = 6
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_ROW_BYTES = EVENT_ID_DIGITS // 2

# Made once: for every row its number and for every length of a text (a character has up to 4 bytes) its bytes.
_NUMBERS = [row.to_bytes(_ROW_BYTES, "big") for row in range(BATCH_ITEMS_MAX)]
_LENGTHS = [length.to_bytes(4, "big") for length in range(4 * TEXT_CHARACTERS_MAX + 1)]


def copied(batch: ForwardedBatch, without: Collection[int]) -> bytes:
    """The rows of a batch, but for some, with the columns in the order that `commands.COPY` names them.

    In UTF-8, which is what the connection is told.
    """
    rows = len(batch.user_keys)
    # The same in every row: all that comes before the number of the row, which ends its id.
    prefix = (
        _COLUMNS.to_bytes(2, "big")
        + _field(batch.project_id.to_bytes(4, "big"))
        + _field(_time(batch.received_at))
        + _field(UUID(batch.event_id(0)).bytes)[:-_ROW_BYTES]
    )
    now = _time(batch.received_at)
    by_type = {each: _field(now) + _field(each.encode()) for each in set(batch.device_types)}
    middles = [by_type[each] for each in batch.device_types]
    for row, at in batch.occurred_at.items():
        middles[row] = _field(_time(at)) + _field(batch.device_types[row].encode())
    user_keys = [user_key.encode() for user_key in batch.user_keys]
    lengths = [_LENGTHS[len(user_key)] for user_key in user_keys]
    columns = [_NUMBERS[:rows], middles, lengths, user_keys]
    if without:
        kept = [row not in without for row in range(rows)]
        columns = [list(compress(column, kept)) for column in columns]
        rows = sum(kept)
    pieces = [prefix] * (rows * (1 + len(columns)))
    for place, column in enumerate(columns, start=1):
        pieces[place :: 1 + len(columns)] = column  # refused by Python unless it has one piece a row
    return b"".join([HEADER, *pieces, TRAILER])


def _field(value: bytes) -> bytes:
    return len(value).to_bytes(4, "big") + value


def _time(at: datetime) -> bytes:
    """Microseconds since 2000."""
    return ((at - _EPOCH) // _MICROSECOND).to_bytes(8, "big", signed=True)
