"""Log-in tells nothing about why it refuses, does the same work each time, and slows repeated failures down."""

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import pytest
from argon2 import PasswordHasher

from contract.accounts import LoginAttempt, RegistrationAttempt
from device_registration_api.accounts.accounts import Accounts, new_accounts
from device_registration_api.accounts.settings import AccountSettings
from device_registration_api.maintenance.settings import DatabaseSettings
from device_registration_api.personal.pools import new_personal_data
from servicekit.errors import CredentialsRefused
from tests.accounts.conftest import PHRASE, bearer, new_email, register
from tests.personal_databases import PersonalDatabases
from tests.servers import Product, StartProduct, finished_process, run_command

SECONDS = 30.0
WRONG = "another-strong-passphrase-7"
STORE_OLDER = """
    UPDATE account
       SET password_hash = %(older)s
     WHERE account_id = (SELECT account_id FROM account ORDER BY created_at DESC LIMIT 1)
"""
COUNT_OLDER = "SELECT count(*) FROM account WHERE password_hash = %(older)s"


@pytest.fixture(scope="module")
def product(start_product: StartProduct, personal_databases: PersonalDatabases) -> Product:
    """Tests come from networks of their own."""
    return start_product(env=personal_databases.environment | {"TRUSTED_PROXIES": "127.0.0.0/8"})


@pytest.fixture
def network() -> str:
    """An address that no other test has."""
    return f"2001:db8:{secrets.token_hex(2)}:{secrets.token_hex(2)}::1"


def login(public: httpx2.Client, email: str, phrase: str, network: str) -> httpx2.Response:
    body = {"email": email, "password": phrase}
    return public.post("/api/v1/auth/login", json=body, headers={"X-Forwarded-For": network})


def deactivate(product: Product, personal_databases: PersonalDatabases, email: str) -> None:
    # A process of its own: some of these tests run in an event loop, and the command has one, too.
    env = product.database.writer_env | personal_databases.environment
    finished = finished_process(env, "deactivate-account", email)
    assert finished.returncode == 0, finished.stderr


def test_wrong_unknown_and_inactive_are_the_same_response(
    product: Product, public: httpx2.Client, personal_databases: PersonalDatabases, network: str
) -> None:
    email, stopped = new_email(), new_email()
    for each in (email, stopped):
        assert register(public, each).status_code == 201
    deactivate(product, personal_databases, stopped)

    answers = [
        login(public, *credentials, network)
        for credentials in ((email, WRONG), (new_email(), PHRASE), (stopped, PHRASE), (stopped, WRONG))
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1
    assert json.loads(answers[0].content)["code"] == "credentials-refused"
    shown = [
        {name: value for name, value in answer.headers.items() if name not in {"date", "x-request-id"}}
        for answer in answers
    ]
    assert all(headers == shown[0] for headers in shown)
    assert shown[0]["www-authenticate"] == "Bearer"
    assert login(public, email, PHRASE, network).status_code == 200


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The hashes that are verified in the block."""
    verified: list[str] = []
    verify = PasswordHasher.verify

    def counting(hasher: PasswordHasher, stored: str, password: str) -> bool:
        verified.append(stored)
        return verify(hasher, stored, password)

    with monkeypatch.context() as patch:
        patch.setattr(PasswordHasher, "verify", counting)
        yield verified


@pytest.fixture
def accounts(
    product: Product, personal_databases: PersonalDatabases, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Accounts]:
    """The accounts of the module's product, in this process."""
    for name, value in {**product.database.writer_env, **personal_databases.environment}.items():
        monkeypatch.setenv(name, value)
    data = new_personal_data(AccountSettings(), DatabaseSettings(), "test")
    assert data is not None
    made = new_accounts(AccountSettings(), data)
    assert made is not None
    yield made
    made.close()
    data.close()


def ends() -> float:
    return time.monotonic() + SECONDS


async def test_each_refusal_compares_one_hash_with_the_same_parameters(
    product: Product, personal_databases: PersonalDatabases, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    email, stopped = new_email(), new_email()
    for each in (email, stopped):
        await accounts.register(RegistrationAttempt(email=each, password=PHRASE), ends())
    deactivate(product, personal_databases, stopped)

    for each, phrase in ((email, WRONG), (new_email(), PHRASE), (stopped, PHRASE)):
        with counted(monkeypatch) as verified, pytest.raises(CredentialsRefused):
            await accounts.login(LoginAttempt(email=each, password=phrase, client="n"), ends())
        assert [stored.rpartition("$")[0].rpartition("$")[0] for stored in verified] == [
            "$argon2id$v=19$m=19456,t=2,p=1"
        ]


async def test_a_hash_with_other_parameters_is_replaced_at_the_log_in(
    public: httpx2.Client, accounts: Accounts, personal_databases: PersonalDatabases, network: str
) -> None:
    email = new_email()
    await accounts.register(RegistrationAttempt(email=email, password=PHRASE), ends())
    older = {"older": PasswordHasher(time_cost=3, memory_cost=32 * 1024, parallelism=4).hash(PHRASE)}
    personal_databases.rows(STORE_OLDER, older)

    assert login(public, email, WRONG, network).status_code == 401
    assert personal_databases.rows(COUNT_OLDER, older) == [(1,)]
    assert login(public, email, PHRASE, network).status_code == 200
    assert personal_databases.rows(COUNT_OLDER, older) == [(0,)]
    assert login(public, email, PHRASE, network).status_code == 200


def test_repeated_failures_wait_and_the_right_password_works_afterwards(public: httpx2.Client, network: str) -> None:
    email = new_email()
    assert register(public, email).status_code == 201
    for _ in range(5):
        assert login(public, email, WRONG, network).status_code == 401
    refused = login(public, email.upper(), PHRASE, network)  # in any case it is the same account
    assert refused.status_code == 429
    assert refused.json()["code"] == "too-many-requests"
    assert refused.headers["Retry-After"] == "1"

    time.sleep(1.0)
    assert login(public, email, PHRASE, network).status_code == 200
    # From where the account is used, failures from elsewhere do not matter.
    for _ in range(5):
        assert login(public, email, WRONG, "192.0.2.77").status_code == 401
    assert login(public, email, PHRASE, "192.0.2.78").status_code == 429
    assert login(public, email, PHRASE, network).status_code == 200


def test_an_unknown_address_is_slowed_down_like_a_known_one(public: httpx2.Client, network: str) -> None:
    email = new_email()
    answers = [login(public, email, WRONG, network).status_code for _ in range(6)]
    assert answers == [401] * 5 + [429]


def test_a_network_is_slowed_down_over_many_addresses(public: httpx2.Client, network: str) -> None:
    # One customer has a whole /64.
    neighbours = [f"{network[:-1]}{number:x}" for number in range(1, 30)]
    answers = [login(public, new_email(), WRONG, each).status_code for each in neighbours]
    assert answers[:20] == [401] * 20
    assert 429 in answers[20:]


def test_an_account_that_is_stopped_loses_its_tokens_within_30_seconds(
    product: Product, public: httpx2.Client, personal_databases: PersonalDatabases, network: str
) -> None:
    email = new_email()
    assert register(public, email).status_code == 201
    token = login(public, email, PHRASE, network).json()["access_token"]
    assert public.get("/api/v1/auth/me", headers=bearer(token)).status_code == 200

    deactivate(product, personal_databases, email)
    stopped = time.monotonic()
    # The account itself is read anew, so this route knows at once.
    assert public.get("/api/v1/auth/me", headers=bearer(token)).status_code == 401
    assert time.monotonic() - stopped < 30
    run_command(product.database.writer_env | personal_databases.environment, "activate-account", email)
    assert login(public, email, PHRASE, network).status_code == 200
