"""`make run` makes the databases of personal data, and their secrets reach the private service alone."""

import base64
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
import pytest
from dotenv import dotenv_values
from psycopg2 import sql
from psycopg2.extensions import make_dsn

from device_registration_api.personal.keys import NumberedKeys
from local.database import NAME, base_environment
from local.installation import Installation
from local.postgres import Postgres, wheel_binaries
from local.services import ROOT
from tests.local.http_client import count, log_event
from tests.local.launcher import Launch, StartLauncher

DATABASES = [NAME, f"{NAME}_keyring", f"{NAME}_personal"]
SECRETS = ("personal-password", "personal-keks", "personal-index-keys", "token-signing-keys")
NAMES = "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres' ORDER BY datname"
OF_PERSONAL_DATA = {"PERSONAL_DB_USER", "PERSONAL_DB_PASSWORD", "PERSONAL_KEKS"}
OF_ACCOUNTS = {"PERSONAL_INDEX_KEYS", "TOKEN_SIGNING_KEYS"}


def environment_of(pid: int) -> dict[str, str]:
    entries = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def environments(run: Launch, program: str) -> list[dict[str, str]]:
    """Of every process of a run whose command line has that word."""
    return [environment_of(pid) for pid in run.pids_of(program)]


def private(environment: dict[str, str]) -> set[str]:
    return {name for name in environment if name.startswith(("PERSONAL_", "KEYRING_", "TOKEN_SIGNING_"))}


def rows(url: str, statement: str, **login: str) -> list[tuple[object, ...]]:
    with closing(psycopg2.connect(make_dsn(url, **login))) as conn, conn, conn.cursor() as cur:
        cur.execute(statement)
        return cur.fetchall()


def administrator_of(run: Launch) -> str:
    lines = (run.data / "postgres" / "pgdata" / "postmaster.pid").read_text().splitlines()
    return make_dsn(
        host=lines[4].strip(),
        port=lines[3].strip(),
        user="postgres",
        password=(run.data / "postgres" / "superuser-password").read_text().strip(),
        dbname="postgres",
    )


def command(run: Launch, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    env = base_environment() | {"DATA_DIR": str(run.data)} | settings
    words = [sys.executable, "-m", "local.command", *arguments]
    return subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def test_three_databases_and_to_each_process_its_own_settings(launch: StartLauncher) -> None:
    """A `.env` that serves Compose is there, too: none of its examples is used."""
    examples = {name: value or "" for name, value in dotenv_values(ROOT / ".env.example").items()}
    run = launch(env=examples).wait_ready()

    url = administrator_of(run)
    assert [name for (name,) in rows(url, NAMES)] == DATABASES

    services = {each["PORT"]: each for each in environments(run, "main.py")}
    private_service, public_service = services[str(run.private_port)], services[str(run.public_port)]
    [maintenance] = environments(run, "maintain")
    assert private(private_service) == OF_PERSONAL_DATA | OF_ACCOUNTS
    assert private(maintenance) == OF_PERSONAL_DATA
    assert private(public_service) == set()
    kept = [(run.data / name).read_text().strip() for name in SECRETS]
    assert [private_service[name] for name in ("PERSONAL_DB_PASSWORD", "PERSONAL_KEKS")] == kept[:2]
    assert [private_service[name] for name in ("PERSONAL_INDEX_KEYS", "TOKEN_SIGNING_KEYS")] == kept[2:]
    for secret in kept:
        assert not [name for name, value in public_service.items() if secret in value]
        assert secret not in run.printed
    assert {(run.data / name).stat().st_mode & 0o777 for name in SECRETS} == {0o600}

    login = {"user": private_service["PERSONAL_DB_USER"], "password": private_service["PERSONAL_DB_PASSWORD"]}
    reader = {"user": public_service["DB_USER"], "password": public_service["DB_PASSWORD"]}
    for database in DATABASES[1:]:
        assert rows(make_dsn(url, dbname=database), "SELECT 1", **login) == [(1,)]
        with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
            rows(make_dsn(url, dbname=database), "SELECT 1", **reader)
    run.wait_for("keyring: 0 keys without a person deleted")


def test_the_keys_have_the_form_that_their_readers_expect(tmp_path: Path) -> None:
    installation = Installation(tmp_path / "data")
    installation.lock()
    found = installation.personal_data | installation.account_keys
    for name in ("PERSONAL_KEKS", "PERSONAL_INDEX_KEYS"):
        assert list(NumberedKeys(found[name]).by_number) == [1]
    [signing] = re.findall(r"^[A-Za-z0-9_-]{1,16}:([A-Za-z0-9_-]{43})$", found["TOKEN_SIGNING_KEYS"])
    assert len(base64.urlsafe_b64decode(signing + "=")) == 32
    assert found == installation.personal_data | installation.account_keys
    other = Installation(tmp_path / "other")
    other.lock()
    assert not set(found.values()) & set((other.personal_data | other.account_keys).values())


def test_every_command_has_what_it_reads_while_it_runs(launch: StartLauncher, tmp_path: Path) -> None:
    run = launch().wait_ready()
    password = tmp_path / "password"
    password.write_text("marble-otter-canyon-91\n")
    # Another server's: with an embedded one, libpq must not see it.
    operator = ("create-operator", "ops@example.org", "--password-file", str(password))
    made = command(run, *operator, PGHOSTADDR="192.0.2.1")
    unusable = command(run, "create-key", "default", "one", "--scopes", "read", API_KEYS_MAX="0")
    keks = run.data / "personal-keks"
    keks.write_text(f"2:{base64.b64encode(bytes(32)).decode()},{keks.read_text().strip()}\n")
    rotated = command(run, "rotate-keys")
    keks.write_text("2:too-short\n")
    refused = command(run, "rotate-keys")

    assert (made.returncode, made.stdout) == (0, "ops@example.org is an operator\n"), made.stderr
    assert (unusable.returncode, "API_KEYS_MAX" in unusable.stderr) == (1, True), unusable
    assert rotated.returncode == 0, rotated.stderr
    assert "1 keys wrapped under KEK 2\n0 secrets of webhooks wrapped under KEK 2\n" in rotated.stdout
    assert "no key is under another KEK than 2" in rotated.stdout
    assert (refused.returncode, "PERSONAL_KEKS" in refused.stderr) == (1, True), refused
    assert "Traceback" not in refused.stderr


@contextmanager
def server_of(data: Path) -> Iterator[str]:
    """The administrator's URL of the server of an installation that does not run."""
    server = Postgres(Installation(data).postgres_folder, wheel_binaries())
    server.start()
    try:
        yield server.url()
    finally:
        server.stop()


def make_it_one_of_release_0_2_0(data: Path) -> None:
    """Take away what an installation did not have when personal data was opt-in."""
    login = Installation(data).personal.user
    with server_of(data) as url, closing(psycopg2.connect(url)) as conn:
        conn.autocommit = True
        with conn.cursor() as cur:
            for database in DATABASES[1:]:
                cur.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(database)))
            cur.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(login)))
    for name in SECRETS:
        (data / name).unlink()


def test_an_installation_without_them_gets_them_and_keeps_its_data(launch: StartLauncher) -> None:
    first = launch().wait_ready()
    log_event(first.public_url)
    first.end()
    first.wait_gone()
    make_it_one_of_release_0_2_0(first.data)

    second = launch(again=first).wait_ready()

    assert count(second.public_url) == 1
    assert [name for (name,) in rows(administrator_of(second), NAMES)] == DATABASES
    login = Installation(second.data).personal
    for database in DATABASES[1:]:
        url = make_dsn(administrator_of(second), dbname=database)
        assert rows(url, "SELECT 1", user=login.user, password=login.password) == [(1,)]
