"""What the ids of transactions belong to, and up to which of them everything is committed."""

from hashlib import sha256
from typing import NamedTuple

from psycopg2 import sql

from device_registration_api.citus.state import horizon_of
from servicekit.database import Connection
from servicekit.database.sql import fetch_all
from servicekit.errors import Conflict, NotConfigured

# A dump that is restored makes other objects, on another server or on the same one. A server that goes on from an
# earlier state, or as another's successor, has a new timeline.
STATE = sql.SQL("""
    SELECT (pg_control_system()).system_identifier, (pg_control_checkpoint()).timeline_id, d.oid::bigint,
           to_regclass(format('public.%%I', %(fact)s))::oid::bigint,
           {horizon}, pg_snapshot_xmax(pg_current_snapshot())::text::bigint
      FROM pg_database AS d
     WHERE d.datname = current_database()
""")
OF_ANOTHER_SERVER = sql.SQL("SELECT EXISTS (SELECT FROM {fact} WHERE commit_xid >= %(ends)s)")

RESTORED = "the database has been restored since this checkpoint: start again without it, or `from` a time"
_NOT_NUMBERED = "there are events of a server before a restore; the operator has to run `migrate` once"
_EPOCH_CHARACTERS = 12


class DatabaseState(NamedTuple):
    """Of one moment. Whatever belongs to a transaction before `horizon` is visible, or will never be."""

    system_identifier: int
    timeline: int
    database: int
    table: int
    horizon: int
    next_transaction: int

    @property
    def epoch(self) -> str:
        """A text that a restore changes."""
        identity = ",".join(map(str, self[:4]))
        return sha256(identity.encode()).hexdigest()[:_EPOCH_CHARACTERS]


def database_state(conn: Connection, fact: str) -> DatabaseState:
    """Return the present state."""
    statement = STATE.format(horizon=sql.SQL(horizon_of(conn)))
    [state] = fetch_all(conn, statement, {"fact": fact}, DatabaseState)
    return state


def check_numbered(conn: Connection, fact: str, state: DatabaseState) -> None:
    """Check that each row has the id of a transaction of this server, or an earlier one.

    Raises:
        NotConfigured: rows were restored from a server that had counted farther; no horizon would ever reach them.
    """
    statement = OF_ANOTHER_SERVER.format(fact=sql.Identifier("public", fact))
    [found] = fetch_all(conn, statement, {"ends": state.next_transaction}, bool)
    if found:
        raise NotConfigured(_NOT_NUMBERED)


def check_epoch(epoch: str, transaction: int, state: DatabaseState) -> None:
    """Raise Conflict if a checkpoint is not of this database, or of a later state of it."""
    if epoch != state.epoch or transaction > state.next_transaction:
        raise Conflict(RESTORED)
