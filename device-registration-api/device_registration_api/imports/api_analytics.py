"""Imports accounts, projects, API keys and requests of alejocv7/api-analytics (family 3)."""

from collections.abc import Collection, Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, LiteralString
from uuid import UUID

from argon2 import extract_parameters
from argon2.exceptions import InvalidHashError
from pydantic import BaseModel, ConfigDict, field_validator

from contract.access import Scope
from contract.accounts import Email
from contract.api_requests.columns import ApiRequestColumns
from contract.api_requests.events import ApiRequest
from contract.projects import Description, ProjectName
from contract.text import ShortText
from device_registration_api.accounts.lookups import INSTALLATION
from device_registration_api.api_requests.addresses import HashedColumns
from device_registration_api.api_requests.commands import API_REQUESTS
from device_registration_api.events.json_parameter import as_json
from device_registration_api.events.rows import Rows
from device_registration_api.imports import projects
from device_registration_api.imports.people import ImportedPerson, PeopleStore
from device_registration_api.imports.projects import KeyOfSource, ProjectOfSource
from device_registration_api.imports.recorder import Chunk
from device_registration_api.imports.report import TableReport
from device_registration_api.imports.run import Run
from device_registration_api.imports.source import NO_TIME, Row
from device_registration_api.imports.validation import read
from device_registration_api.personal.addresses import check_email
from device_registration_api.personal.settings import PeopleSettings
from servicekit.database import Connection
from servicekit.database.sql import execute
from servicekit.errors import Invalid

SYSTEM = "api-analytics"
USERS: LiteralString = "users"
PROJECTS: LiteralString = "projects"
KEYS: LiteralString = "api_keys"
METRICS: LiteralString = "metrics"
TABLES = {
    USERS: ("id", "email", "hashed_password", "full_name", "is_active", "created_at"),
    PROJECTS: ("id", "name", "project_key", "description", "user_id", "is_active", "created_at"),
    KEYS: (
        *("id", "key_hash", "name", "project_id", "expires_at", "last_used_at", "is_active", "total_requests"),
        "created_at",
    ),
    METRICS: (
        *("id", "project_id", "url_path", "method", "response_status_code", "response_time_ms", "timestamp"),
        "user_agent",
    ),
}
KINDS = (API_REQUESTS,)

READ_USERS: LiteralString = """
    SELECT id, email, hashed_password, full_name, is_active,
           CASE WHEN created_at >= '1970-01-01' AND created_at < '9999-12-30' THEN created_at END
      FROM users
     ORDER BY id
"""
READ_PROJECTS: LiteralString = """
    SELECT id, name, project_key, description, user_id, is_active,
           CASE WHEN created_at >= '1970-01-01' AND created_at < '9999-12-30' THEN created_at END
      FROM projects
     ORDER BY id
"""
READ_KEYS: LiteralString = """
    SELECT id, key_hash, name, project_id,
           CASE WHEN created_at >= '1970-01-01' AND created_at < '9999-12-30' THEN created_at END,
           least(greatest(expires_at, '1970-01-01'), '9999-12-30'),
           CASE WHEN last_used_at >= '1970-01-01' AND last_used_at < '9999-12-30' THEN last_used_at END,
           is_active, total_requests
      FROM api_keys
     ORDER BY id
"""
READ_METRICS: LiteralString = """
    SELECT id, project_id, url_path, method::text, response_status_code, response_time_ms,
           CASE WHEN timestamp >= '1970-01-01' AND timestamp < '9999-12-30' THEN timestamp END, user_agent
      FROM metrics
     ORDER BY id
"""
INSERT_ACCOUNTS = """
    INSERT INTO account (account_id, password_hash, is_active, created_at, updated_at)
    SELECT account_id, password_hash, is_active, created_at, created_at
      FROM json_to_recordset(%(accounts)s::json)
        AS sent(account_id uuid, password_hash text, is_active boolean, created_at timestamptz)
"""

# A password that takes longer to verify would let anybody stop the log-in of all.
_PASSES_MAX, _MEMORY_KIB_MAX = 16, 256 * 1024
_NO_PROJECT = "its project was not imported"


class _User(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)

    email: Email
    full_name: ShortText | None
    hashed_password: str
    is_active: bool

    @field_validator("hashed_password")
    @classmethod
    def _is_argon2id(cls, value: str) -> str:
        try:
            parameters = extract_parameters(value)
        except InvalidHashError:
            parameters = None
        if parameters is None or not value.startswith("$argon2id$"):
            raise ValueError("must be a hash of Argon2id: the password cannot be verified")
        if parameters.time_cost > _PASSES_MAX or parameters.memory_cost > _MEMORY_KIB_MAX:
            raise ValueError("must not take more than 16 passes and 256 MiB to verify")
        return value


class _Project(BaseModel):
    name: ProjectName
    description: Description | None
    is_active: bool


class _Key(BaseModel):
    name: ShortText
    key_hash: bytes

    @field_validator("key_hash", mode="before")
    @classmethod
    def _is_sha256(cls, value: Any) -> bytes:  # noqa: ANN401 - whatever the column holds
        with suppress(TypeError, ValueError):
            digest = bytes.fromhex(value)
            if len(digest) == 32:  # noqa: PLR2004 - the bytes of HMAC-SHA256
                return digest
        raise ValueError("must be 64 hexadecimal digits")


@dataclass
class _Known:
    """What was imported, by the ids of the source."""

    accounts: dict[int, UUID] = field(default_factory=dict)
    projects: dict[int, int] = field(default_factory=dict)


async def import_all(run: Run) -> None:
    """Store accounts, projects and keys, then every request. Raises as `Recorder.add`, and CommandError."""
    known = _Known()
    with closing(PeopleStore(run.target.settings, PeopleSettings(), is_dry_run=run.target.is_dry_run)) as people:
        _import_users(run, people, known)
    _import_projects(run, known)
    _import_keys(run, known)
    await _import_metrics(run, known)


def _import_users(run: Run, people: PeopleStore, known: _Known) -> None:
    report = run.report(USERS)
    for rows in run.source.chunks(USERS, READ_USERS):
        users: dict[UUID, tuple[int, _User, datetime]] = {}
        for row_id, email, hashed_password, full_name, is_active, created_at in rows:
            user = _read_user(email, hashed_password, full_name, is_active=is_active)
            if isinstance(user, str):
                report.refuse(row_id, user)
            else:
                at = run.times.instant(created_at) or run.times.now
                users[run.identities.of(USERS, row_id)] = row_id, user, at
        persons = [
            ImportedPerson(account_id, {"email": user.email, "full_name": user.full_name})
            for account_id, (_, user, _) in users.items()
        ]
        outcomes = people.store(INSTALLATION, persons, beside=partial(_insert, users))
        for person, came in zip(persons, outcomes, strict=True):
            row_id = users[person.person_id][0]
            if report.came(row_id, came):
                known.accounts[row_id] = person.person_id
        run.progress.advance(len(rows))


def _read_user(email: object, hashed_password: object, full_name: str | None, *, is_active: object) -> _User | str:
    fields = {
        "email": email,
        "hashed_password": hashed_password,
        "full_name": _unless_blank(full_name),
        "is_active": is_active,
    }
    user = read(_User, fields)
    if isinstance(user, _User):
        try:
            check_email(user.email)
        except Invalid:
            return "email: must be an e-mail address"
    return user


def _insert(users: dict[UUID, tuple[int, _User, datetime]], conn: Connection, new: Collection[UUID]) -> None:
    accounts = [
        {
            "account_id": str(account_id),
            "password_hash": user.hashed_password,
            "is_active": user.is_active,
            "created_at": at,
        }
        for account_id, (_, user, at) in users.items()
        if account_id in new
    ]
    execute(conn, INSERT_ACCOUNTS, {"accounts": as_json(accounts)})


def _import_projects(run: Run, known: _Known) -> None:
    report = run.report(PROJECTS)
    ownerless = 0
    for row_id, name, key, description, user_id, is_active, created_at in _all(run, PROJECTS, READ_PROJECTS):
        fields = {"name": name, "description": (description or "").strip() or None, "is_active": is_active}
        project = read(_Project, fields)
        if isinstance(project, str):
            report.refuse(row_id, project)
            continue
        at = run.times.instant(created_at) or run.times.now
        creator, own_id = run.identities.of(USERS, user_id), run.identities.of(PROJECTS, row_id)
        stored = ProjectOfSource(project.name, key, project.description, project.is_active, creator, at, own_id)
        owner = known.accounts.get(user_id)
        found = projects.import_project(run.target, stored, owner, report, row_id)
        if found is not None:
            known.projects[row_id] = found
            ownerless += owner is None
    if ownerless:
        run.notes.append(f"{ownerless} projects have no owner, because their user was refused: see add-owner")


def _import_keys(run: Run, known: _Known) -> None:
    report = run.report(KEYS)
    keys: dict[int, KeyOfSource] = {}
    for row_id, key_hash, name, project_id, created_at, expires_at, used_at, is_active, requests in _all(
        run, KEYS, READ_KEYS
    ):
        key = read(_Key, {"name": name, "key_hash": key_hash})
        if isinstance(key, str):
            report.refuse(row_id, key)
        elif project_id not in known.projects:
            report.refuse(row_id, _NO_PROJECT)
        else:
            at = run.times.instant(created_at) or run.times.now
            keys[row_id] = KeyOfSource(
                known.projects[project_id],
                projects.cut_name(key.name),
                key.key_hash,
                at,
                expires_at,
                None if is_active else at,
                run.times.instant(used_at),
                max(requests or 0, 0),
            )
    projects.import_keys(run.target, keys.values(), [Scope.INGEST], report)


async def _import_metrics(run: Run, known: _Known) -> None:
    report = run.report(METRICS)
    recorder = run.recorder(API_REQUESTS, report)
    for rows in run.source.chunks(METRICS, READ_METRICS):
        await recorder.add(_requests(run, report, known, rows))
    await recorder.finish()


def _requests(run: Run, report: TableReport, known: _Known, rows: Sequence[Row]) -> Chunk[ApiRequestColumns]:
    ids, of_projects, paths, methods, codes, milliseconds, times, user_agents = map(list, zip(*rows, strict=True))
    try:
        instants = run.times.instants(times)
        project_ids = [known.projects[each] for each in of_projects]
        agents = [_unless_blank(each) for each in user_agents]
        columns = HashedColumns.parse(paths, methods, codes, milliseconds, agents)
    except (KeyError, ValueError):
        ids, project_ids, instants, columns = _valid(run, report, known, rows)
    return Chunk(ids, Rows(project_ids, instants, run.identities.texts(METRICS, ids), columns, {}, {}))


def _unless_blank(text: str | None) -> str | None:
    return text if text and text.strip() else None


def _valid(
    run: Run, report: TableReport, known: _Known, rows: Sequence[Row]
) -> tuple[list[int], list[int], list[datetime], HashedColumns]:
    ids: list[int] = []
    project_ids: list[int] = []
    instants: list[datetime] = []
    requests: list[ApiRequest] = []
    for row_id, project_id, url_path, method, status_code, milliseconds, at, user_agent in rows:
        fields = {
            "url_path": url_path,
            "method": method,
            "response_status_code": status_code,
            "response_time_ms": milliseconds,
            "user_agent": _unless_blank(user_agent),
        }
        request, instant = read(ApiRequest, fields), run.times.instant(at)
        if isinstance(request, str):
            report.refuse(row_id, request)
        elif instant is None:
            report.refuse(row_id, NO_TIME)
        elif project_id not in known.projects:
            report.refuse(row_id, _NO_PROJECT)
        else:
            ids.append(row_id)
            project_ids.append(known.projects[project_id])
            instants.append(instant)
            requests.append(request)
    run.progress.advance(len(rows) - len(ids))
    columns = HashedColumns.model_construct(
        url_paths=[each.url_path for each in requests],
        methods=[each.method for each in requests],
        status_codes=[each.response_status_code for each in requests],
        response_us=[each.response_us for each in requests],
        user_agents=[each.user_agent for each in requests],
        consumers=[None] * len(requests),
    )
    return ids, project_ids, instants, columns


def _all(run: Run, table: str, statement: LiteralString) -> Iterable[Row]:
    for rows in run.source.chunks(table, statement):
        yield from rows
        run.progress.advance(len(rows))
