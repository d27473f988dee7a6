"""Drains the inbox into the first database, in the order of arrival: by one process at a time, in small steps.

A step reads the oldest entries, records them, and lets them leave, with one transaction of the inbox around all that.
Whatever ends the process or a connection in between leaves the entries where they are. They are then recorded again
under the same ids, which stores and counts nothing twice.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import groupby
from typing import Any, TypeAlias, TypeVar

from contract.metric_names import NAMESPACE
from device_registration_api.events.json_parameter import as_json
from device_registration_api.events.table import EventTable
from device_registration_api.inbox.recording import (
    Fate,
    Verdict,
    Waiting,
    forbidden,
    record_events,
    record_waiting_batch,
)
from device_registration_api.inbox.storing import Inbox, insert_entries
from servicekit.database import Connection
from servicekit.database.lease import Lease
from servicekit.database.pool import Database
from servicekit.database.sql import execute, fetch_all
from servicekit.errors import DatabaseAway, NotRecorded, OutcomeUnknown
from servicekit.metrics.cells import Cells
from servicekit.metrics.families import counter

DRAINED = counter(f"{NAMESPACE}_inbox_drained_total", "Events that left the inbox, or stay refused.", "kind", "fate")

# An advisory lock, until the end of the transaction.
TRY_LOCK = "SELECT try_to_drain()"
# The size of a step: each is one transaction of the first database for each kind and for each batch.
EVENTS_AT_ONCE = 1_000
LOOKED_THROUGH_EVERY_SECONDS = 3600
BYTES_AT_ONCE = 4 * 1024 * 1024
OLDEST = """
    SELECT entry_id, kind, is_batch, project_id, received_at, event_count, envelope
      FROM (SELECT entry_id, kind, is_batch, project_id, received_at, event_count, envelope,
                   row_number() OVER in_order AS place,
                   sum(event_count) OVER in_order AS events,
                   sum(octet_length(envelope)) OVER in_order AS bytes
              FROM (SELECT entry_id, kind, is_batch, project_id, received_at, event_count, envelope
                      FROM inbox_entry
                     WHERE refused_at IS NULL AND kind = ANY(%(kinds)s)
                     ORDER BY entry_id
                     LIMIT %(events)s) AS oldest
            WINDOW in_order AS (ORDER BY entry_id)) AS measured
     WHERE place = 1 OR (events <= %(events)s AND bytes <= %(bytes)s)
     ORDER BY entry_id
"""
# An erasure does not know the inbox: what was refused is looked through for events of those who are gone.
REFUSED_BEFORE = """
    UPDATE inbox_entry
       SET refused_at = now()
     WHERE entry_id IN (SELECT entry_id
                          FROM inbox_entry
                         WHERE refused_at < now() - %(seconds)s * interval '1 second'
                           AND kind = ANY(%(kinds)s) AND NOT is_batch
                         ORDER BY refused_at
                         LIMIT %(events)s)
    RETURNING entry_id, kind, is_batch, project_id, received_at, event_count, envelope
"""
LEAVE = "DELETE FROM inbox_entry WHERE entry_id = ANY(%(entry_ids)s)"
REFUSE = """
    UPDATE inbox_entry
       SET refused_at = now(), refusal = sent.refusal
      FROM json_to_recordset(%(refused)s::json) AS sent(entry_id bigint, refusal text)
     WHERE inbox_entry.entry_id = sent.entry_id
"""
REFUSE_ITEMS = """
    UPDATE inbox_entry
       SET refused_at = now(), refusal = sent.refusal
      FROM json_to_recordset(%(refused)s::json) AS sent(event_id uuid, refusal text)
     WHERE inbox_entry.event_id = sent.event_id
"""
# A standby, or a server that was made read-only, refuses every event.
IS_WRITABLE = "SELECT current_setting('transaction_read_only') = 'off'"

# A step begins nothing after the first, and one transaction of the first database takes at most the second. So it ends
# before the inbox ends its idle transaction (IDLE_IN_TRANSACTION_SECONDS), and before the service must have shut down.
_BEGIN_SECONDS_MAX = 1.0
_RECORD_SECONDS_MAX = 6.0
_STEP_SECONDS_MAX = 8.0
_PROBE_SECONDS_MAX = 2.0
# How often the first database is tried while it is away, and how often the inbox is looked into.
_PROBE_EVERY_SECONDS = 0.5
_LOOK_EVERY_SECONDS = 2.0

Result = TypeVar("Result")
# Runs work in a transaction of the first database, from the worker thread that has one of the inbox.
InMain: TypeAlias = Callable[[Callable[[Lease], Result]], Result]

_log = logging.getLogger(__name__)


class Drain:
    """The drain of a process: it tries the first database while that is away, and drains when it is back."""

    def __init__(
        self, inbox: Inbox, main: Database, tables: Sequence[EventTable[Any]], slot: int, cells: Cells
    ) -> None:
        self._inbox = inbox
        self._main = main
        self._tables = {table.kind: table for table in tables}
        self._slot = slot
        self._counters = {
            (kind, fate): cells.counter(DRAINED, kind, fate.value) for kind in self._tables for fate in Fate
        }
        self._stopping = asyncio.Event()
        self._is_failing = False

    def stop(self) -> None:
        """End `run` after the step that is under way."""
        self._stopping.set()

    async def run(self) -> None:
        """Drain until `stop`."""
        while not self._stopping.is_set():
            pause = await self._go_on()
            if pause:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), pause)

    async def _go_on(self) -> float:
        """Try the first database, or take one step. Return for how many seconds there is nothing to do."""
        try:
            if self._inbox.is_main_away:
                await self._main.run(_check_writable, _PROBE_SECONDS_MAX)
                self._inbox.main_is_back()
            entries = await self._step()
        except DatabaseAway as error:
            self._failed(error)
            return _PROBE_EVERY_SECONDS
        except (NotRecorded, OutcomeUnknown) as error:
            self._failed(error)
            return _LOOK_EVERY_SECONDS
        except Exception:  # noqa: BLE001 - whatever it is, events must not wait for ever, nor go to the inbox for ever
            _log.exception("a step of the drain failed; it is repeated")
            return _LOOK_EVERY_SECONDS
        self._is_failing = False
        return 0 if entries else _LOOK_EVERY_SECONDS

    def _failed(self, error: Exception) -> None:
        if not self._is_failing:
            _log.warning("the inbox is not drained for now: %s", error)
        self._is_failing = True

    async def _step(self) -> int:
        """Return the number of entries that left or were refused; 0 when none waits, or another process drains."""
        loop = asyncio.get_running_loop()

        def in_main(work: Callable[[Lease], Result]) -> Result:
            recording = asyncio.run_coroutine_threadsafe(self._main.run(work, _RECORD_SECONDS_MAX), loop)
            return recording.result()

        step = partial(take_step, in_main=in_main, tables=self._tables, slot=self._slot)
        verdicts = await self._inbox.database.run(step, _STEP_SECONDS_MAX)
        for kind, of_kind in groupby(sorted(verdicts, key=lambda each: each.kind), key=lambda each: each.kind):
            fates = sum((each.fates for each in of_kind), Counter[Fate]())
            for fate, number in fates.items():
                self._counters[kind, fate].add(number)
            if fates[Fate.DROPPED] or fates[Fate.REFUSED]:
                _log.warning(
                    "%d %s of the inbox may not be recorded any more and were dropped, %d are refused and stay",
                    fates[Fate.DROPPED],
                    kind,
                    fates[Fate.REFUSED],
                )
        return len(verdicts)


def _check_writable(lease: Lease) -> None:
    with lease.transaction() as conn:
        [is_writable] = fetch_all(conn, IS_WRITABLE, {}, bool)
    if not is_writable:
        raise DatabaseAway("the database is read-only")


def take_step(
    lease: Lease, in_main: InMain[Any], tables: Mapping[str, EventTable[Any]], slot: int
) -> Sequence[Verdict]:
    """Record the oldest entries, and let them leave. Nothing is done while another transaction drains.

    Raises:
        NotRecorded, OutcomeUnknown: one of the databases cannot be used; the entries stay, and are recorded again.
    """
    with lease.transaction() as conn:
        [is_ours] = fetch_all(conn, TRY_LOCK, {}, bool)
        if not is_ours:
            return []
        asked = {"kinds": [*tables], "events": EVENTS_AT_ONCE, "bytes": BYTES_AT_ONCE}
        waiting = fetch_all(conn, OLDEST, asked, Waiting)
        verdicts = list(_recorded(waiting, in_main, tables, slot) if waiting else _forbidden(conn, in_main, tables))
        _let_leave(conn, verdicts)
    return verdicts


def _recorded(
    waiting: Sequence[Waiting], in_main: InMain[Any], tables: Mapping[str, EventTable[Any]], slot: int
) -> Iterator[Verdict]:
    """Record entries in their order, as many as there is time for."""
    begun = time.monotonic()
    for _, group in groupby(waiting, key=lambda entry: (entry.kind, entry.is_batch and entry.entry_id)):
        if time.monotonic() - begun > _BEGIN_SECONDS_MAX:
            return
        entries = list(group)
        table = tables[entries[0].kind]
        if entries[0].is_batch:
            yield in_main(partial(record_waiting_batch, table=table, waiting=entries[0], slot=slot))
        else:
            yield from in_main(partial(record_events, table=table, waiting=entries, slot=slot))


def _forbidden(conn: Connection, in_main: InMain[Any], tables: Mapping[str, EventTable[Any]]) -> Iterator[Verdict]:
    """Look once an hour through what was refused."""
    asked = {"kinds": [*tables], "events": EVENTS_AT_ONCE, "seconds": LOOKED_THROUGH_EVERY_SECONDS}
    refused = sorted(fetch_all(conn, REFUSED_BEFORE, asked, Waiting), key=lambda entry: entry.kind)
    for kind, of_kind in groupby(refused, key=lambda entry: entry.kind):
        yield from in_main(partial(forbidden, table=tables[kind], refused=list(of_kind)))


def _let_leave(conn: Connection, verdicts: Sequence[Verdict]) -> None:
    leaving = [each.entry_id for each in verdicts if each.refusal is None]
    refused = [{"entry_id": each.entry_id, "refusal": each.refusal} for each in verdicts if each.refusal is not None]
    items = [item for each in verdicts for item in each.refused_items]
    if leaving:
        execute(conn, LEAVE, {"entry_ids": leaving})
    if refused:
        execute(conn, REFUSE, {"refused": as_json(refused)})
    if items:
        insert_entries(conn, [entry._replace(claim=None) for entry, _ in items])
        reasons = [{"event_id": entry.event_id, "refusal": refusal} for entry, refusal in items]
        execute(conn, REFUSE_ITEMS, {"refused": as_json(reasons)})
