"""The operator's commands of accounts, against real databases."""

import getpass
import subprocess
from pathlib import Path

import httpx2
import pytest

from device_registration_api.accounts import command_line
from device_registration_api.schema.connect import CommandError
from tests.accounts.conftest import PHRASE, bearer, login, new_email, register
from tests.personal_databases import PersonalDatabases
from tests.servers import Product, finished_command, finished_process

OPERATORS = "SELECT count(*) FROM account WHERE is_operator"


@pytest.fixture
def operators_before(personal_databases: PersonalDatabases) -> int:
    [(number,)] = personal_databases.rows(OPERATORS)
    return int(number)


def run(product: Product, databases: PersonalDatabases, *arguments: object) -> "subprocess.CompletedProcess[str]":
    return finished_command(product.database.writer_env | databases.environment, *map(str, arguments))


def test_an_operator_is_created_with_a_password_of_a_file(
    product: Product,
    public: httpx2.Client,
    personal_databases: PersonalDatabases,
    operators_before: int,
    tmp_path: Path,
) -> None:
    email, file = new_email(), tmp_path / "password"
    file.write_text(f"{PHRASE}\nanother line\n")
    finished = finished_process(
        product.database.writer_env | personal_databases.environment,
        *("create-operator", email, "--password-file", str(file), "--full-name", "Ana"),
    )
    assert (finished.returncode, finished.stdout) == (0, f"{email} is an operator\n"), finished.stderr

    entered = login(public, email.upper())
    assert entered.status_code == 200
    assert public.get("/api/v1/auth/me", headers=bearer(entered.json()["access_token"])).json()["full_name"] == "Ana"
    assert personal_databases.rows(OPERATORS) == [(operators_before + 1,)]


def test_an_account_becomes_an_operator_and_keeps_its_password(
    product: Product, public: httpx2.Client, personal_databases: PersonalDatabases, operators_before: int
) -> None:
    email = new_email()
    assert register(public, email).status_code == 201
    for _ in range(2):
        finished = run(product, personal_databases, "create-operator", email.lower())
        assert finished.returncode == 0
        assert "password has not changed" in finished.stdout
    assert personal_databases.rows(OPERATORS) == [(operators_before + 1,)]
    assert login(public, email).status_code == 200


@pytest.mark.parametrize(
    ("email", "phrase", "reason"),
    [
        ("weak@example.com", "password", "too easy to guess"),
        ("empty@example.com", "", "password: String should have at least 1 character"),
        ("no address", PHRASE, "@-sign"),
    ],
)
def test_a_refused_operator_is_not_created(
    product: Product, personal_databases: PersonalDatabases, tmp_path: Path, email: str, phrase: str, reason: str
) -> None:
    (file := tmp_path / "password").write_text(phrase)
    before = personal_databases.rows("SELECT count(*) FROM account")
    finished = run(product, personal_databases, "create-operator", email, "--password-file", file)
    assert finished.returncode == 1
    assert finished.stderr.startswith("create-operator: ")
    assert reason in finished.stderr
    assert len(finished.stderr.splitlines()) == 1
    assert personal_databases.rows("SELECT count(*) FROM account") == before


def test_a_file_that_is_not_there_and_an_unknown_account_are_one_sentence(
    product: Product, personal_databases: PersonalDatabases, tmp_path: Path
) -> None:
    missing = tmp_path / "none"
    finished = run(product, personal_databases, "create-operator", "new@example.com", "--password-file", missing)
    assert (finished.returncode, finished.stderr) == (1, f"create-operator: {missing} cannot be read\n")
    for command in ("deactivate-account", "activate-account"):
        finished = run(product, personal_databases, command, "nobody@example.com")
        assert finished.returncode == 1
        assert finished.stderr == f"{command}: no account has the e-mail address nobody@example.com\n"


def test_without_the_settings_the_command_names_them(product: Product) -> None:
    finished = finished_command(product.database.writer_env, "create-operator", "a@example.com")
    assert finished.returncode == 1
    assert finished.stderr == (
        "create-operator: set PERSONAL_DB_USER, PERSONAL_DB_PASSWORD, PERSONAL_KEKS, PERSONAL_INDEX_KEYS, "
        "TOKEN_SIGNING_KEYS in the environment\n"
    )


@pytest.mark.parametrize("second", [PHRASE, "something else"])
def test_a_password_that_is_asked_for_is_typed_twice(monkeypatch: pytest.MonkeyPatch, second: str) -> None:
    typed = iter([PHRASE, second])
    monkeypatch.setattr(getpass, "getpass", lambda _: next(typed))
    if second == PHRASE:
        assert command_line.ask_password(None) == PHRASE
    else:
        with pytest.raises(CommandError, match="different"):
            command_line.ask_password(None)
