"""A backup is readable until its key-encryption key is destroyed, and a restore erases again who was erased since."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from device_registration_api.personal.sealing import SealBroken
from tests.erasure.conftest import PROJECT, SECONDS, World
from tests.erasure.people import people_of
from tests.maintenance.rounds import as_administrator
from tests.personal_databases import PersonalDatabases, key_list
from tests.schema.schema_steps import run
from tests.servers import MigratedDatabase

MARKER = "marker@example.org"
RECEIPT = "SELECT receipt::text, events::int FROM erasure WHERE person_id = %(person)s"


def test_a_backup_from_before_brings_nobody_back(world: World) -> None:
    gone, kept = world.person(MARKER), world.person_with_events()
    world.record(*((gone, each) for each in world.days(0, 1, 3)))
    world.close_connections()
    with ExitStack() as undo:
        first, personal, keyring = (
            undo.enter_context(world.cluster.new_database(each)) for each in (world.database_name, *world.apart)
        )
        receipt = str(world.erase(gone).receipt)
        rotated = {**world.environment, "PERSONAL_KEKS": key_list(2, 1)}
        assert run("rotate-keys", rotated)[0] == 0

        backup = PersonalDatabases(world.cluster, personal, keyring)
        with people_of(backup, key_list(1)) as people:
            [found] = asyncio.run(people.read(PROJECT, [gone], SECONDS))
            assert found.fields == {"email": MARKER}
        with people_of(backup, key_list(2)) as people, pytest.raises(SealBroken, match="key-encryption key 1 is not"):
            asyncio.run(people.read(PROJECT, [gone], SECONDS))

        # What an operator restores: older copies, with the newest keyring.
        newest = PersonalDatabases(world.cluster, personal, world.personal.keyring)
        database = MigratedDatabase(world.cluster.admin_url(first))
        restored = World(world.cluster, database, newest, world.writer)
        environment = {**restored.environment, "PERSONAL_KEKS": key_list(2)}
        with people_of(newest, key_list(2)) as people:
            assert [each.person_id for each in asyncio.run(people.read(PROJECT, [gone, kept], SECONDS))] == [kept]
        before, others = restored.published(), restored.left(kept)
        assert restored.left(gone) == [3, 2, 0]

        code, printed = run("verify-erased", environment)
        assert code == 1
        assert f"{receipt}: 1 rows in project_person, 3 rows in api_request, 3 rows in api_request_presence" in printed
        code, printed = run("verify-erased", environment, "--replay")
        assert (code, "nothing is left of anybody" in printed) == (0, True), printed

        assert restored.left(gone) == [0, 0, 0]
        assert restored.left(kept) == others
        assert restored.published() == before
        assert as_administrator(database, RECEIPT, person=str(gone)) == [(receipt, 3)]
        restored.assert_exact()
