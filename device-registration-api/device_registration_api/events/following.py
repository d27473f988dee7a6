"""Stores and counts presences after the facts, so that they cost nothing when an event is recorded.

A follower reads the facts in the order of their transactions (commit_xid), up to the oldest transaction that is still
running: what comes later has a greater id. It stores the presences and how far it has come in one transaction, so each
fact is followed, however it is interrupted; and a fact that is followed twice is counted once. Until then the fact is
counted by the reader itself (stats.auth_event_users).
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import LiteralString, NamedTuple, TypeAlias

import psycopg2
from psycopg2 import sql

from device_registration_api.citus.state import horizon_of
from device_registration_api.events.json_parameter import as_json
from device_registration_api.events.local_days import LocalDays
from device_registration_api.events.presences import ALL_EVENTS, count_statement
from device_registration_api.events.projects import zone_of
from servicekit.database import Connection
from servicekit.database.lease import Lease
from servicekit.database.pool import Database
from servicekit.database.prepared import Prepared
from servicekit.database.sql import execute, fetch_all
from servicekit.errors import DomainError

FOLLOW_SECONDS = 2.0
STEP_SECONDS_MAX = 10.0
# The facts that one transaction follows: it takes some hundred milliseconds.
FACTS_MAX = 20_000
_TRANSACTIONS_AT_FIRST = 1_000
_TRANSACTIONS_MAX = 1_000_000
_SLOT = 0
_BIGINT_MAX = 2**63 - 1

STATE = sql.SQL("""
    SELECT system_identifier IS NOT DISTINCT FROM (pg_control_system()).system_identifier, followed_xid, {horizon}
      FROM maintenance.follower
     WHERE fact = %(fact)s
""")
LOCK = "SELECT followed_xid FROM maintenance.follower WHERE fact = %(fact)s FOR UPDATE SKIP LOCKED"
LOCK_WAITING = "SELECT followed_xid FROM maintenance.follower WHERE fact = %(fact)s FOR UPDATE"
ADVANCE = """
    UPDATE maintenance.follower
       SET followed_xid = %(ends)s, system_identifier = (pg_control_system()).system_identifier
     WHERE fact = %(fact)s
"""
# Otherwise each step would read all that was stored since autovacuum was there: of 800,000 facts, forty times.
SUMMARIZE = "SELECT maintenance.summarize(%(fact)s)"
# The facts of a few transactions are found by the BRIN index of their ids. A planner without statistics of the newest
# week reads all of that week instead, and this is no work for more than one process.
BY_INDEX = "SET LOCAL enable_seqscan = off; SET LOCAL max_parallel_workers_per_gather = 0"
OF_TRANSACTIONS: LiteralString = "f.commit_xid >= {starts} AND f.commit_xid < {ends}"
OF_WEEK: LiteralString = "f.received_at >= {received_from} AND f.received_at < {received_before}"
HAS_MANY = sql.SQL("SELECT EXISTS (SELECT 1 FROM {fact} OFFSET %(facts)s)")
ZONES = "SELECT DISTINCT timezone FROM project WHERE deleted_at IS NULL"
WEEKS = """
    SELECT to_date(right(relname, 8), 'YYYYMMDD')::timestamp AT TIME ZONE 'UTC'
      FROM pg_inherits
      JOIN pg_class ON pg_class.oid = inhrelid
     WHERE inhparent = to_regclass(format('public.%%I', %(fact)s)) AND relname ~ '_[0-9]{8}$'
     ORDER BY 1
"""

_log = logging.getLogger(__name__)


class Transactions(NamedTuple):
    """The facts of transactions with these ids; the end is not included."""

    starts: int
    ends: int


class Week(NamedTuple):
    """The facts that were received in this time; the end is not included."""

    received_from: datetime | str
    received_before: datetime | str


Facts: TypeAlias = Transactions | Week


class _Statements(NamedTuple):
    """What is found of some facts, and how their presences are counted."""

    found: sql.Composed
    counted: sql.Composed


class _State(NamedTuple):
    is_of_this_cluster: bool
    followed_xid: int
    running_xid: int


class _Found(NamedTuple):
    facts: int
    earliest: datetime | None
    latest: datetime | None


class Follower:
    """Follows one fact table; a row of maintenance.follower has how far it has come."""

    def __init__(self, fact: LiteralString, who: LiteralString, segment: LiteralString) -> None:
        """`who` is the column that says who is present, `segment` an expression over the fact f."""
        self.fact = fact
        self._transactions = _TRANSACTIONS_AT_FIRST
        self._has_many = HAS_MANY.format(fact=sql.Identifier("public", fact))
        self._statements: dict[type[Facts], _Statements] = {
            Transactions: _statements(
                fact, who, segment, OF_TRANSACTIONS, types=dict.fromkeys(Transactions._fields, "int8")
            ),
            Week: _statements(fact, who, segment, OF_WEEK, types=dict.fromkeys(Week._fields, "timestamptz")),
        }

    def follow_some(self, conn: Connection) -> bool:
        """Follow at most about FACTS_MAX facts, and commit. True: more may be waiting.

        It does nothing while another process follows, or if `follow_all` has to.
        """
        with conn:
            state = self._state(conn)
        if state.is_of_this_cluster and state.followed_xid < state.running_xid:
            with conn:  # a transaction of its own, because VACUUM waits for its end
                execute(conn, SUMMARIZE, {"fact": self.fact})
        with conn:
            if state.is_of_this_cluster:
                execute(conn, BY_INDEX, {})
                facts = self._next(conn, state)
            else:
                [has_many] = fetch_all(conn, self._has_many, {"facts": FACTS_MAX}, bool)
                facts = None if has_many else Transactions(0, _BIGINT_MAX)
        if facts is None:
            return False
        ends = min(facts.ends, state.running_xid)
        with conn:
            # What another process has followed since is in the statements after the lock.
            if fetch_all(conn, LOCK, {"fact": self.fact}, int) != [state.followed_xid]:
                return False
            execute(conn, BY_INDEX, {})
            self._follow(conn, facts)
            execute(conn, ADVANCE, {"fact": self.fact, "ends": ends})
        return ends < state.running_xid

    def catch_up(self, conn: Connection, stopping: Callable[[], bool] = lambda: False) -> int:
        """Follow all facts of transactions that are complete. Returns how many `follow_all` had to follow."""
        followed = sum(self.follow_all(conn))
        while not stopping() and self.follow_some(conn):
            pass
        return followed

    def follow_all(self, conn: Connection) -> Iterator[int]:
        """Follow every fact, a week in a transaction, if what was followed before says nothing about this cluster.

        Returns the number of facts of each week. When it is interrupted, it begins again, and counts nothing twice.
        """
        with conn:
            state = self._state(conn)
            weeks = fetch_all(conn, WEEKS, {"fact": self.fact}, lambda at: at)
        if state.is_of_this_cluster:
            return
        for received_from, received_before in zip(["-infinity", *weeks], [*weeks, "infinity"], strict=True):
            with conn:
                fetch_all(conn, LOCK_WAITING, {"fact": self.fact}, int)
                count = self._follow(conn, Week(received_from, received_before))
            yield count
        with conn:
            execute(conn, ADVANCE, {"fact": self.fact, "ends": state.running_xid})

    def _state(self, conn: Connection) -> _State:
        statement = STATE.format(horizon=sql.SQL(horizon_of(conn)))
        [state] = fetch_all(conn, statement, {"fact": self.fact}, _State)
        return state

    def _next(self, conn: Connection, state: _State) -> Transactions | None:
        """Return the next facts that are not too many; None: there is none."""
        starts = state.followed_xid
        while starts < state.running_xid:
            facts = Transactions(starts, min(starts + self._transactions, state.running_xid))
            count = self._find(conn, facts).facts
            if count > FACTS_MAX and self._transactions > 1:
                self._transactions //= 2
                continue
            self._transactions = min(2 * self._transactions, _TRANSACTIONS_MAX)
            if count > 0:
                return facts
            # Transactions of other tables. More of them from the same start could have too many facts, and half of
            # these none again, without an end.
            starts = facts.ends
        return None

    def _find(self, conn: Connection, facts: Facts) -> _Found:
        [found] = fetch_all(conn, self._statements[type(facts)].found, facts._asdict(), _Found)
        return found

    def _follow(self, conn: Connection, facts: Facts) -> int:
        found = self._find(conn, facts)
        if found.earliest is not None and found.latest is not None:
            zones = [
                _days_of(name, found.earliest.astimezone(UTC), found.latest.astimezone(UTC))
                for name in fetch_all(conn, ZONES, {}, str)
            ]
            # A fact that was stored since the first look is followed later, and its day may not be among these.
            parameters = {"zones": as_json(zones), "slot": _SLOT, **facts._asdict(), **found._asdict()}
            execute(conn, self._statements[type(facts)].counted, parameters)
        return found.facts


async def follow_forever(database: Database, follower: Follower) -> None:
    """Follow every few seconds, until it is cancelled. A database that cannot be used is asked again."""
    is_failing = False
    while True:
        try:
            while await database.run(partial(_follow_some, follower=follower), STEP_SECONDS_MAX):
                pass
            is_failing = False
        except (DomainError, psycopg2.DataError, psycopg2.IntegrityError) as error:
            if not is_failing:
                _log.warning("no presences of %s are stored for now: %s", follower.fact, error)
            is_failing = True
        await asyncio.sleep(FOLLOW_SECONDS)


def _follow_some(lease: Lease, follower: Follower) -> bool:
    with lease.transaction() as conn:
        return follower.follow_some(conn)


def _days_of(zone: str, earliest: datetime, latest: datetime) -> dict[str, object]:
    first, starts = LocalDays(zone_of(zone)).starts(earliest, latest)
    return {"timezone": zone, "first_day": first, "starts": starts}


def _statements(
    fact: LiteralString,
    who: LiteralString,
    segment: LiteralString,
    condition: LiteralString,
    *,
    types: Mapping[str, str],
) -> _Statements:
    """`types` are those of the parameters of the condition, which is one on the fact f."""
    find: LiteralString = f"SELECT count(*), min(occurred_at), max(occurred_at) FROM {fact} AS f WHERE {condition}"  # noqa: S608 - of constants of this package
    counted = {"zones": "json", "earliest": "timestamptz", "latest": "timestamptz", "slot": "int2", **types}
    # Not prepared: a plan for any ids of transactions would read all facts.
    return _Statements(
        Prepared(f"find_{fact}", find, types).plain,
        Prepared(
            f"follow_{fact}", count_statement(fact, _seen_statement(fact, who, segment, condition)), counted
        ).plain,
    )


def _seen_statement(
    fact: LiteralString, who: LiteralString, segment: LiteralString, condition: LiteralString
) -> LiteralString:
    """The rules of a zone are those of this process: the database may lack the zone, or have older rules."""
    return f"""
    SELECT project_id, unnest(ARRAY[{ALL_EVENTS}, part]) AS segment, digest, day
      FROM (SELECT DISTINCT f.project_id, {segment} AS part,
                   substr(sha256(p.presence_key || convert_to(f.{who}, 'UTF8')), 1, 16) AS digest,
                   days.first_day + width_bucket(f.occurred_at, days.starts) - 1 AS day
              FROM {fact} AS f
              JOIN project AS p USING (project_id)
              JOIN json_to_recordset({{zones}}::json) AS days(timezone text, first_day date, starts timestamptz[])
             USING (timezone)
             WHERE {condition}
               AND f.occurred_at >= {{earliest}} AND f.occurred_at <= {{latest}} AND p.deleted_at IS NULL) AS seen
    """  # noqa: S608 - of constants of this package
