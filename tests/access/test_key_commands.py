"""The commands of operators: projects and keys are made, listed, revoked and rotated, within the limit."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.access import Scope, key_id_of
from device_registration_api.access import keys
from device_registration_api.access.projects import new_project_key
from servicekit.errors import Conflict, NotFound
from servicekit.process import clock
from tests.access.conftest import key_id
from tests.access.key_commands import connected, create_key, create_project, list_keys, revoke_key, rotate_key
from tests.database import rows
from tests.servers import finished_command, finished_process, run_command

if TYPE_CHECKING:
    from servicekit.database import Connection
    from tests.servers import MigratedDatabase

SCOPES = [Scope.INGEST, Scope.READ]


def create(conn: Connection, project: str, life: timedelta | None = None, active_max: int = 10) -> str:
    expires_at = None if life is None else clock.now() + life
    return create_key(conn, project, SCOPES, expires_at=expires_at, active_max=active_max)


def by_id(conn: Connection, project: str) -> dict[str, keys.StoredKey]:
    return {each.key_id: each for each in list_keys(conn, project)}


def test_the_commands_make_list_rotate_and_revoke_a_key(database: MigratedDatabase) -> None:
    env = database.writer_env
    project = finished_process(env, "create-project", "Café Größe", "--timezone", "Europe/Berlin").stdout.strip()
    assert re.fullmatch(r"cafe-gro-?e-[0-9a-f]{8}", project)
    assert rows(database, "SELECT project_id, name, timezone FROM project ORDER BY 1") == [
        (1, "default", "UTC"),
        (2, "Café Größe", "Europe/Berlin"),
    ]

    key = run_command(env, "create-key", project, "till", "--scopes", "read,ingest").strip()
    assert key_id_of(key) == key_id(key)
    [(digest, scopes, life)] = rows(
        database, "SELECT digest, scopes, expires_at - created_at FROM api_key ORDER BY created_at"
    )
    assert bytes(digest) == sha256(key.encode()).digest()
    assert scopes == ["ingest", "read"]
    assert abs(life - timedelta(days=60)) < timedelta(minutes=1)

    successor = run_command(env, "rotate-key", project, key_id(key)).strip()
    forever = run_command(env, "create-key", project, "x", "--scopes", "manage", "--never-expires").strip()
    assert run_command(env, "revoke-key", project, key_id(forever)) == f"key {key_id(forever)} is revoked\n"
    listed = run_command(env, "list-keys", project)
    states = {line.split()[0]: line.split()[1] for line in listed.splitlines()}
    assert states == {key_id(key): "active", key_id(successor): "active", key_id(forever): "revoked"}
    assert key.rpartition("_")[2] not in listed


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["create-project", " "], "name"),
        (["create-project", "x" * 101], "name"),
        (["create-project", "shop", "--timezone", "Mars/Base"], "time zones"),
        (["create-key", "nobody", "k", "--scopes", "read"], "Project not found"),
        (["create-key", "default", "", "--scopes", "read"], "name"),
        (["create-key", "default", "k", "--scopes", "read", "--expires-at", "2001-01-01T00:00:00Z"], "expired"),
        (["revoke-key", "default", "0" * 12], "no key"),
        (["rotate-key", "default", "0" * 12], "no key"),
        (["list-keys", "nobody"], "Project not found"),
        (["deactivate-project", "nobody"], "Project not found"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(database: MigratedDatabase, arguments: list[str], sentence: str) -> None:
    finished = finished_command(database.writer_env, *arguments)
    assert finished.returncode == 1
    assert finished.stdout == ""
    assert len(finished.stderr.splitlines()) == 1
    assert sentence in finished.stderr
    assert rows(database, "SELECT count(*) FROM api_key") == [(0,)]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--scopes", "all"],
        ["--scopes", ""],
        [],
        ["--scopes", "read", "--expires-at", "tomorrow"],
        ["--scopes", "read", "--expires-at", "2999-01-01T00:00:00Z", "--never-expires"],
    ],
)
def test_wrong_arguments_are_refused(database: MigratedDatabase, arguments: list[str]) -> None:
    finished = finished_command(database.writer_env, "create-key", "default", "k", *arguments)
    assert finished.returncode == 2
    assert "Traceback" not in finished.stderr


@given(st.text(min_size=1, max_size=100))
def test_every_name_makes_a_project_key_of_its_own(name: str) -> None:
    made = new_project_key(name)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", made)
    assert made != new_project_key(name)


def test_two_at_once_do_not_exceed_the_limit(database: MigratedDatabase) -> None:
    with connected(database) as conn:
        project = create_project(conn, "shop")

    def attempt(_: int) -> bool:
        with connected(database) as own:
            try:
                create(own, project, active_max=3)
            except Conflict:
                return False
            return True

    with ThreadPoolExecutor(8) as threads:
        created = list(threads.map(attempt, range(12)))
    assert sum(created) == 3
    assert rows(database, "SELECT count(*) FROM api_key") == [(3,)]


def test_revoked_and_expired_keys_do_not_count(database: MigratedDatabase) -> None:
    with connected(database) as conn:
        project = create_project(conn, "shop")
        first, second = create(conn, project), create(conn, project, timedelta(days=1))
        with pytest.raises(Conflict, match="revoke one"):
            create(conn, project, active_max=2)
        revoke_key(conn, project, key_id(first))
        revoke_key(conn, project, key_id(first))
        create(conn, project, active_max=2)
        rows(
            database,
            "UPDATE api_key SET expires_at = now() WHERE key_id = %(id)s",
            {"id": key_id(second)},
        )
        create(conn, project, active_max=2)


@pytest.mark.parametrize("life", [None, timedelta(days=60)], ids=["forever", "60 days"])
@pytest.mark.parametrize("overlap", [timedelta(0), timedelta(hours=24)], ids=["at once", "a day"])
def test_a_rotation_keeps_name_scopes_and_length_of_life(
    database: MigratedDatabase, life: timedelta | None, overlap: timedelta
) -> None:
    with connected(database) as conn:
        project = create_project(conn, "shop")
        old_id = key_id(create(conn, project, life))
        original = by_id(conn, project)[old_id]
        new_id = key_id(rotate_key(conn, project, old_id, overlap=overlap, active_max=10))
        stored = by_id(conn, project)
        old, new = stored[old_id], stored[new_id]
        assert (new.name, new.scopes) == (old.name, old.scopes)
        if original.expires_at is None or new.expires_at is None:
            assert original.expires_at == new.expires_at
        else:
            assert new.expires_at - new.created_at == original.expires_at - original.created_at
        assert old.expires_at == new.created_at + overlap
        assert old.replaced_by == new_id
        now = clock.now()
        assert old.state(now) == ("active" if overlap else "revoked")
        assert old.state(now + overlap) in {"expired", "revoked"}
        with pytest.raises(Conflict):
            rotate_key(conn, project, old_id, overlap=overlap, active_max=10)


def test_an_overlap_does_not_prolong_a_life_and_a_full_project_rotates_at_once(database: MigratedDatabase) -> None:
    with connected(database) as conn:
        project = create_project(conn, "shop")
        old_id = key_id(create(conn, project, timedelta(hours=1)))
        before = by_id(conn, project)[old_id].expires_at
        with pytest.raises(Conflict, match="revoke one"):
            rotate_key(conn, project, old_id, overlap=timedelta(hours=24), active_max=1)
        assert by_id(conn, project)[old_id].replaced_by is None
        rotate_key(conn, project, old_id, overlap=timedelta(hours=24), active_max=2)
        assert by_id(conn, project)[old_id].expires_at == before
    with connected(database) as conn:
        project = create_project(conn, "shop")
        old_id = key_id(create(conn, project))
        rotate_key(conn, project, old_id, overlap=timedelta(0), active_max=1)


@pytest.mark.parametrize("state", ["revoked", "expired"])
def test_a_key_that_is_over_is_not_rotated(database: MigratedDatabase, state: str) -> None:
    with connected(database) as conn:
        project = create_project(conn, "shop")
        old_id = key_id(create(conn, project))
        column = {"revoked": "revoked_at", "expired": "expires_at"}[state]
        rows(database, f"UPDATE api_key SET {column} = now()")  # noqa: S608 - one of two names above
        with pytest.raises(Conflict, match=state):
            rotate_key(conn, project, old_id, overlap=timedelta(0), active_max=10)
        assert len(by_id(conn, project)) == 1


def test_another_projects_key_is_unknown(database: MigratedDatabase) -> None:
    with connected(database) as conn:
        mine, other = (create_project(conn, "shop") for _ in range(2))
        old_id = key_id(create(conn, mine))
        with pytest.raises(NotFound, match="no key"):
            revoke_key(conn, other, old_id)
        assert by_id(conn, mine)[old_id].state(clock.now()) == "active"
