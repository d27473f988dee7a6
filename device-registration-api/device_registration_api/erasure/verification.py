"""Proves that nothing is left of anybody who was erased, and erases again what a restored copy brought back."""

import asyncio
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple
from uuid import UUID

from psycopg2 import sql

from device_registration_api.erasure import commands
from device_registration_api.erasure.commands import Erasure
from device_registration_api.erasure.job import Erasures
from device_registration_api.maintenance.catalogue import FACT_TABLES, FactTable
from device_registration_api.maintenance.connect import pool
from device_registration_api.maintenance.settings import DatabaseSettings
from device_registration_api.personal.erasing import PersonEraser, new_eraser
from device_registration_api.personal.settings import KeyringSettings
from device_registration_api.schema.connect import CommandError
from servicekit.database import Connection
from servicekit.database.pool import Database
from servicekit.database.sql import fetch_all
from servicekit.process import clock
from servicekit.process.progress import NOT_SHOWN, Progress

STATEMENT_SECONDS_MAX = 600
_SECONDS_MAX = 3_600.0

LEFT_OF_PERSON = sql.SQL("""
    SELECT count(*) FROM {fact} WHERE project_id = %(project_id)s AND {person} = %(person_id)s
""")
LEFT_OF_THINGS = sql.SQL("""
    SELECT (SELECT count(*) FROM {fact} JOIN {things} AS t USING (project_id, {person})
             WHERE t.project_id = %(project_id)s AND t.person_id = %(person_id)s)
           + (SELECT count(*) FROM {things} AS t
               WHERE t.project_id = %(project_id)s AND t.person_id = %(person_id)s)
""")
LEFT_OF_PRESENCES = sql.SQL("""
    SELECT count(*) FROM {presence}
     WHERE project_id = %(project_id)s
       AND digest = (SELECT substr(sha256(presence_key || convert_to(%(person_id)s, 'UTF8')), 1, 16)
                       FROM project WHERE project_id = %(project_id)s)
""")
NOT_REFUSED = """
    SELECT count(*) FROM project_person
     WHERE project_id = %(project_id)s AND person_id = %(person_id)s::uuid AND erased_at IS NULL
"""
PROJECTS = "SELECT project_id FROM project UNION SELECT 0"

Report = Callable[[str], None]


class _Who(NamedTuple):
    """Who was erased, as the ledger or the keyring knows it."""

    project_id: int
    person_id: UUID
    receipt: UUID


def verify_erased(
    database: DatabaseSettings,
    settings: KeyringSettings,
    report: Report,
    *,
    replay: bool,
    progress: Progress = NOT_SHOWN,
) -> bool:
    """Look for rows of everybody who was erased; False if there are any, or if an erasure is not finished.

    With `replay`, each erasure is done again before. The newest keyring remembers all of them, so a first database and
    a `personal` that were restored from older copies learn of those that came after.

    Raises:
        CommandError: there are no settings of personal data.
        NotRecorded: a database is away.
    """
    eraser = new_eraser(settings, database, "verify-erased")
    if eraser is None:
        raise CommandError("set PERSONAL_DB_USER, PERSONAL_DB_PASSWORD and PERSONAL_KEKS in the environment")
    first = pool(database, statement_seconds_max=STATEMENT_SECONDS_MAX)
    try:
        return asyncio.run(_verify(first, eraser, report, progress, replay=replay))
    finally:
        first.close()
        eraser.close()


async def _verify(first: Database, eraser: PersonEraser, report: Report, progress: Progress, *, replay: bool) -> bool:
    if replay:
        report(f"{await _replay(first, eraser, progress)} erasures were done again")
    ledger = await commands.in_transaction(first, commands.every, _deadline())
    unfinished = {each.receipt for each in ledger if each.finished_at is None}
    for receipt in unfinished:
        report(f"{receipt}: not finished; run maintain")
    finished = [each for each in await _everybody(ledger, eraser) if each.receipt not in unfinished]
    found = 0
    progress.expect(len(finished))
    progress.doing("looking for rows of erased persons")
    for who in finished:
        left = {
            **await commands.in_transaction(first, partial(_left, who), _deadline()),
            **await eraser.left(who.project_id, who.person_id, _SECONDS_MAX),
        }
        progress.advance()
        rows = {place: count for place, count in left.items() if count}
        if rows:
            found += 1
            report(f"{who.receipt}: " + ", ".join(f"{count} rows in {place}" for place, count in rows.items()))
    if found:
        report("run verify-erased --replay, which erases them again")
    elif not unfinished:
        report(f"nothing is left of anybody: {len(finished)} erasures are finished")
    return not found and not unfinished


async def _everybody(ledger: Iterable[Erasure], eraser: PersonEraser) -> list[_Who]:
    """Return who is in the ledger, and who is known to the keyring alone."""
    known = {(each.project_id, each.person_id): _Who(each.project_id, each.person_id, each.receipt) for each in ledger}
    for each in await eraser.remembered(_SECONDS_MAX):
        known.setdefault((each.project_id, each.person_id), _Who(each.project_id, each.person_id, each.receipt))
    return list(known.values())


async def _replay(first: Database, eraser: PersonEraser, progress: Progress) -> int:
    ledger = await commands.in_transaction(first, commands.every, _deadline())
    projects = set(await commands.in_transaction(first, _projects, _deadline()))
    erasures = Erasures(first, eraser)
    everybody = await _everybody(ledger, eraser)
    progress.expect(len(everybody))
    progress.doing("erasing again")
    for who in everybody:
        progress.advance()
        if who.project_id in projects:
            erasure = await commands.in_transaction(first, partial(_restore, who), _deadline())
            await erasures.complete(erasure, _deadline())
        else:  # a person of a project that was deleted
            await eraser.erase(who.project_id, who.person_id, who.receipt, _SECONDS_MAX)
    return len(everybody)


def _projects(conn: Connection) -> list[int]:
    return fetch_all(conn, PROJECTS, {}, int)


def _restore(who: _Who, conn: Connection) -> Erasure:
    return commands.restore(conn, who.project_id, who.person_id, who.receipt, clock.now())


def _left(who: _Who, conn: Connection) -> dict[str, int]:
    """Return the number of rows of a person by table."""
    key = {"project_id": who.project_id, "person_id": str(who.person_id)}
    left = {"project_person": fetch_all(conn, NOT_REFUSED, key, int)[0]}
    for table in fetch_all(conn, FACT_TABLES, {}, FactTable):
        if table.person_column is None:
            continue
        names = {"fact": table.table(), "person": sql.Identifier(table.person_column)}
        statement = (
            LEFT_OF_PERSON.format(**names)
            if table.person_table is None
            else LEFT_OF_THINGS.format(**names, things=sql.Identifier("public", table.person_table))
        )
        [left[table.fact]] = fetch_all(conn, statement, key, int)
        if table.has_presences_of_persons:
            presence = f"{table.fact}_presence"
            [left[presence]] = fetch_all(conn, LEFT_OF_PRESENCES.format(presence=table.table("presence")), key, int)
    return left


def _deadline() -> float:
    return time.monotonic() + _SECONDS_MAX
