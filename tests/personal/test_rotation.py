"""Key-encryption keys come and go, and with the last one an erased person's old backups."""

from __future__ import annotations

import asyncio
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from psycopg2.extensions import parse_dsn

from device_registration_api.personal.blind_index import IndexedField
from device_registration_api.personal.people import Person
from device_registration_api.personal.sealing import SealBroken
from local.database import base_environment
from tests.personal.conftest import Apart
from tests.personal_databases import key_list
from tests.schema.schema_steps import LOGINS, PERSONAL_LOGIN, run
from tests.servers import WRITER

EMAIL = [IndexedField.EMAIL]
SECONDS = 10.0
KEKS = "SELECT kek, count(*)::int FROM person_key GROUP BY kek ORDER BY kek"
DAYS_AGO = "UPDATE person_key SET created_at = now() - interval '2 days'"


def environment(apart: Apart, *keks: int) -> dict[str, str]:
    login = {"DB_USER": LOGINS["WRITER_DB_USER"], "DB_PASSWORD": LOGINS["WRITER_DB_PASSWORD"]}
    place = WRITER.environment(apart.cluster.admin_url(apart.name))
    return {**place, **login, **PERSONAL_LOGIN, "PERSONAL_KEKS": key_list(*keks)}


def dumped(apart: Apart, database: str) -> str:
    target = parse_dsn(apart.cluster.admin_url(f"{apart.name}_{database}"))
    return subprocess.run(
        [apart.cluster.binaries / "pg_dump", "--data-only", "--inserts", "--exclude-table=alembic_version",
         "-h", target["host"], "-p", target["port"], "-U", target["user"], target["dbname"]],
        env={**base_environment(), "PGPASSWORD": target["password"]},
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip


def restore(apart: Apart, database: str, dump: str) -> None:
    statements = "\n".join(line for line in dump.splitlines() if line.startswith("INSERT"))
    apart.rows(
        database,
        "TRUNCATE person, person_index, account, registration_key, creation_key"
        if database == "personal"
        else "TRUNCATE person_key, key_epoch",
    )
    apart.rows(database, f"SET bytea_output = 'hex'; {statements}" if statements else "SELECT 1")


async def test_a_backup_is_unreadable_when_its_kek_is_destroyed_and_readable_before(apart: Apart) -> None:
    people = apart.people(keks=key_list(1))
    erased = await people.create(1, {"email": "gone@example.org"}, EMAIL, SECONDS)
    kept = await people.create(1, {"email": "kept@example.org"}, EMAIL, SECONDS)
    backup = {each: dumped(apart, each) for each in ("personal", "keyring")}

    await people.erase(1, erased, SECONDS)
    code, printed = run("rotate-keys", environment(apart, 2, 1))
    assert (code, "no key is under another KEK than 2" in printed) == (0, True), printed
    assert await apart.people(keks=key_list(2)).read(1, [kept], SECONDS)
    newest_keyring = dumped(apart, "keyring")

    for each, dump in backup.items():
        restore(apart, each, dump)
    with pytest.raises(SealBroken, match="key-encryption key 1 is not"):
        await apart.people(keks=key_list(2)).read(1, [erased], SECONDS)
    # The twin: with the old KEK, the same backup opens. So it is the KEK that must be destroyed.
    assert await people.read(1, [erased], SECONDS) == [Person(erased, {"email": "gone@example.org"})]

    # The restore that an operator does: the old data, with the newest keyring.
    restore(apart, "keyring", newest_keyring)
    [found] = await apart.people(keks=key_list(2)).read(1, [erased, kept], SECONDS)
    assert found.person_id == kept


async def test_a_key_whose_kek_is_missing_is_counted_and_the_others_are_wrapped(apart: Apart) -> None:
    await apart.people(keks=key_list(7)).create(1, {}, [], SECONDS)
    await apart.people(keks=key_list(1)).create(1, {}, [], SECONDS)
    code, printed = run("rotate-keys", environment(apart, 2, 1))
    assert (code, "1 keys are still under KEK 7" in printed) == (1, True), printed
    assert apart.rows("keyring", KEKS) == [(2, 1), (7, 1)]
    assert run("rotate-keys", environment(apart, 2, 7))[0] == 0
    assert apart.rows("keyring", KEKS) == [(2, 2)]
    assert key_list(2).split(":")[1] not in printed


def test_without_its_settings_the_command_says_what_is_missing(apart: Apart) -> None:
    for missing in ("PERSONAL_DB_PASSWORD", "PERSONAL_KEKS"):
        code, printed = run("rotate-keys", {**environment(apart, 1), missing: ""})
        assert (code, len(printed.splitlines()), missing in printed) == (1, 1, True)


async def test_maintain_deletes_keys_without_a_person_and_old_peppers(apart: Apart) -> None:
    people = apart.people()
    await people.create(1, {}, [], SECONDS)
    await people.create(1, {}, [], SECONDS)
    apart.rows("personal", "DELETE FROM person WHERE person_id <> (SELECT min(person_id::text)::uuid FROM person)")
    [(left,)] = apart.rows("personal", "SELECT person_id::text FROM person")
    apart.rows("keyring", DAYS_AGO)
    await people.create(1, {}, [], SECONDS)
    apart.rows("personal", "DELETE FROM person WHERE created_at = (SELECT max(created_at) FROM person)")
    apart.rows(
        "keyring", "INSERT INTO daily_pepper SELECT current_date - back, sha256('') FROM generate_series(0, 5) AS back"
    )

    code, printed = await asyncio.to_thread(run, "maintain", environment(apart, 1))

    assert code == 0, printed
    assert "REMINDER" not in printed
    # The key of today may still get its person.
    assert apart.rows("keyring", "SELECT person_id::text, in_use FROM person_key WHERE in_use") == [(left, True)]
    assert apart.rows("keyring", "SELECT count(*)::int FROM person_key") == [(2,)]
    oldest = (datetime.now(UTC) - timedelta(hours=24)).date()
    assert apart.rows("keyring", "SELECT min(day) FROM daily_pepper") == [(oldest,)]
    # A key that was seen in use stays, even when the table of people is lost.
    apart.rows("personal", "TRUNCATE person CASCADE")
    assert (await asyncio.to_thread(run, "maintain", environment(apart, 1)))[0] == 0
    assert apart.rows("keyring", "SELECT count(*)::int FROM person_key WHERE in_use") == [(1,)]


def test_maintain_reminds_of_an_old_kek(apart: Apart) -> None:
    apart.rows("keyring", "INSERT INTO key_epoch VALUES (1, now() - interval '31 days')")
    assert "REMINDER: KEK 1 is 31 days old" in run("maintain", environment(apart, 1))[1]
    assert "REMINDER" not in run("maintain", environment(apart, 2, 1))[1]
