"""What a process remembers of keys: no longer than stated, no more than stated, and nothing of a wrong secret."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from starlette.requests import Request

from contract.access import Scope, new_key
from servicekit.database.connection_string import SessionTimeouts
from servicekit.database.pool import Database
from servicekit.errors import NotAuthenticated, NotRecorded
from servicekit.process import clock
from statistics_api.access import key_cache, queries
from statistics_api.access.credentials import Credential, credential_of
from statistics_api.access.key_cache import KeyCache
from statistics_api.access.key_usage import KeyUsage
from statistics_api.access.notifications import forget_changed
from statistics_api.access.projects import ProjectCaches
from tests.access.conftest import key_id
from tests.access.key_commands import connected, create_key, create_project, revoke_key
from tests.database import dsn_of, rows

if TYPE_CHECKING:
    from statistics_api.access.queries import Project, StoredKey
    from statistics_api.access.shares import StoredShare
    from tests.servers import MigratedDatabase


class World:
    """A cache over a real database, with a clock that a test steps and a count of its queries."""

    def __init__(self, database: Database) -> None:
        self.now = 1_000.0
        self.queries = 0
        self._database = database
        self.read: Callable[[str], Awaitable[tuple[StoredKey, ...]]] = self._read
        self.cache = KeyCache(self._current_read, lambda: self.now)

    async def _current_read(self, key: str) -> tuple[StoredKey, ...]:
        return await self.read(key)

    async def _read(self, key: str) -> tuple[StoredKey, ...]:
        self.queries += 1
        return await self._database.run(lambda lease: queries.keys(lease, key), 3.0)

    async def _report(self, _: bytes) -> None:
        raise AssertionError

    async def ask(self, key: str) -> Credential:
        scope = {
            "type": "http",
            "headers": [(b"x-api-key", key.encode())],
            "state": {"keys": self.cache, "key_usage": KeyUsage(self._report), "imported_key_secret": None},
        }
        return await credential_of(Request(scope), Scope.READ)


@asynccontextmanager
async def world(database: MigratedDatabase, **changes: str) -> AsyncIterator[World]:
    env = database.reader_env | changes
    pool = Database(
        dsn_of(env, timeouts=SessionTimeouts(statement_seconds=3, lock_seconds=1, idle_in_transaction_seconds=3)),
        connections_max=2,
        wait_seconds_max=1.0,
        read_only=True,
    )
    try:
        yield World(pool)
    finally:
        pool.close()


def make(database: MigratedDatabase, life: timedelta | None = None) -> tuple[str, str]:
    """A project and a key of it."""
    with connected(database) as conn:
        project = create_project(conn, "shop")
        expires_at = None if life is None else clock.now() + life
        return project, create_key(conn, project, list(Scope), expires_at=expires_at)


async def test_a_key_is_read_once_in_30_seconds_and_revoked_within_them(database: MigratedDatabase) -> None:
    project, key = make(database)
    async with world(database) as asked:
        for _ in range(5):
            assert (await asked.ask(key)).key_id == key_id(key)
        assert asked.queries == 1
        with connected(database) as conn:
            revoke_key(conn, project, key_id(key))
        asked.now += key_cache.KEPT_SECONDS - 0.1
        await asked.ask(key)
        asked.now += 0.1
        with pytest.raises(NotAuthenticated):
            await asked.ask(key)
        assert asked.queries == 2
    assert key_cache.KEPT_SECONDS == 30


async def no_project(_: str) -> tuple[Project, ...]:
    return ()


async def no_key(_: str) -> tuple[StoredKey, ...]:
    return ()


def no_device(project_id: str, device_id: str) -> None:
    pytest.fail(f"device {device_id} of project {project_id} is none of these")


async def no_share(digest: str) -> tuple[StoredShare, ...]:
    pytest.fail(f"nobody asks for the share {digest}")


NO_PROJECTS = ProjectCaches(KeyCache(no_project), KeyCache(no_project))
NO_SHARES = KeyCache(no_share)
NO_OTHERS: dict[str, Any] = {"projects": NO_PROJECTS, "shares": NO_SHARES, "forget_device": no_device}


async def test_a_notification_ends_a_key_at_once_and_another_ones_does_not(database: MigratedDatabase) -> None:
    project, key = make(database)
    async with world(database) as asked:
        asked_for = await asked.ask(key)
        with connected(database) as conn:
            revoke_key(conn, project, key_id(key))
        for other in ("key " + "0" * 12, "project 1 default", "key", "", "account 7", "project x y"):
            forget_changed(other, keys=asked.cache, **NO_OTHERS)
        await asked.ask(key)
        assert asked.queries == 1
        forget_changed(f"key {key_id(key)}", keys=asked.cache, **NO_OTHERS)
        with pytest.raises(NotAuthenticated):
            await asked.ask(key)
        forget_changed(
            f"project {asked_for.project_id} {project}",
            keys=asked.cache,
            projects=NO_PROJECTS,
            shares=NO_SHARES,
            forget_device=no_device,
        )
        with pytest.raises(NotAuthenticated):
            await asked.ask(key)
        assert asked.queries == 3


async def test_what_was_read_before_a_notification_is_not_remembered_after_it(database: MigratedDatabase) -> None:
    project, key = make(database)
    async with world(database) as asked:
        read = asked.read

        async def overtaken(wanted: str) -> tuple[StoredKey, ...]:
            asked.read = read
            found = await read(wanted)
            with connected(database) as conn:
                revoke_key(conn, project, key_id(key))
            forget_changed(f"key {key_id(key)}", keys=asked.cache, **NO_OTHERS)
            return found

        asked.read = overtaken
        await asked.ask(key)  # it began before the key was revoked
        with pytest.raises(NotAuthenticated):
            await asked.ask(key)
        assert asked.queries == 2


async def test_the_30_seconds_begin_with_the_query(database: MigratedDatabase) -> None:
    """A slow query may have seen the key just before it was revoked."""
    _, key = make(database)
    async with world(database) as asked:
        read = asked.cache._reads._read  # noqa: SLF001 - only so can a query be slow

        async def slow(wanted: str) -> object:
            outcome = await read(wanted)
            asked.now += 10
            return outcome

        asked.cache._reads._read = slow  # type: ignore[assignment]  # noqa: SLF001
        await asked.ask(key)
        asked.now += key_cache.KEPT_SECONDS - 10
        await asked.ask(key)
        assert asked.queries == 2


async def test_garbage_and_wrong_secrets_ask_nothing(database: MigratedDatabase) -> None:
    _, key = make(database)
    async with world(database) as asked:
        await asked.ask(key)
        other = new_key()
        for wrong in (key[:-1] + "-", "ds_live_x", "", "ds_live_" + key[:7:-1], other.text[:-3] + "000"):
            with pytest.raises(NotAuthenticated):
                await asked.ask(wrong)
        assert asked.queries == 1


async def test_random_keys_cannot_fill_the_memory_nor_drive_out_a_known_key(
    database: MigratedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_cache, "UNKNOWN_KEPT_MAX", 5)
    monkeypatch.setattr(key_cache, "KEPT_MAX", 2)
    _, key = make(database)
    async with world(database) as asked:
        await asked.ask(key)
        unknown = [new_key().text for _ in range(20)]
        for each in unknown:
            with pytest.raises(NotAuthenticated):
                await asked.ask(each)
        with pytest.raises(NotAuthenticated):
            await asked.ask(unknown[-1])
        await asked.ask(key)
        assert asked.queries == 21
        assert len(asked.cache._unknown) == 5  # noqa: SLF001 - the bound is what is tested
        for _ in range(3):
            await asked.ask(make(database)[1])
        assert len(asked.cache._known) == 2  # noqa: SLF001
        asked.now += key_cache.UNKNOWN_KEPT_SECONDS
        before = asked.queries
        with pytest.raises(NotAuthenticated):
            await asked.ask(unknown[-1])
        assert asked.queries == before + 1


async def test_a_remembered_key_expires_by_the_clock(
    database: MigratedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, key = make(database, timedelta(hours=1))
    async with world(database) as asked:
        await asked.ask(key)
        real = clock.now
        monkeypatch.setattr(clock, "now", lambda: real() + timedelta(minutes=59))
        await asked.ask(key)
        monkeypatch.setattr(clock, "now", lambda: real() + timedelta(minutes=61))
        with pytest.raises(NotAuthenticated):
            await asked.ask(key)
        assert asked.queries == 1


async def test_without_the_database_a_remembered_key_works_until_its_end_and_then_it_is_no_401(
    database: MigratedDatabase,
) -> None:
    _, key = make(database)
    async with world(database) as asked:
        await asked.ask(key)
        rows(database, "REVOKE SELECT ON stats.api_key FROM stats_reader")
        asked.now += key_cache.KEPT_SECONDS - 0.1
        await asked.ask(key)
        asked.now += 0.1
        with pytest.raises(NotRecorded):
            await asked.ask(key)
        with pytest.raises(NotRecorded):
            await asked.ask(make(database)[1])
    async with world(database, DB_PORT="1") as unreachable:
        with pytest.raises(NotRecorded):
            await unreachable.ask(key)
        with pytest.raises(NotAuthenticated):
            await unreachable.ask("ds_live_garbage")


async def test_a_notification_ends_what_is_remembered_of_a_project_for_keys_and_for_members() -> None:
    queries_of: list[str] = []

    async def read(key: str) -> tuple[Project, ...]:
        queries_of.append(key)
        return (queries.Project(7, "shop-1", "UTC", 500),)

    projects = ProjectCaches(KeyCache(read), KeyCache(read))
    keys: KeyCache[StoredKey] = KeyCache(no_key)
    for payload, queries_after in (("project 8 shop-2", 2), ("project 7 shop-1", 4)):
        await projects.by_key.get("shop-1")
        await projects.by_member.get("shop-1/an-account")
        forget_changed(payload, keys=keys, projects=projects, shares=NO_SHARES, forget_device=no_device)
        await projects.by_key.get("shop-1")
        await projects.by_member.get("shop-1/an-account")
        assert len(queries_of) == queries_after
