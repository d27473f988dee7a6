"""Without the personal databases, or without their settings, accounts are away and everything else works."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import pytest
from psycopg2 import sql

from tests.accounts.conftest import PHRASE, bearer, login, new_email, register
from tests.accounts.forged import claims, signed
from tests.auth_events.payloads import event
from tests.personal_databases import PersonalDatabases
from tests.servers import Product, StartProduct

STOP = sql.SQL("ALTER DATABASE {name} ALLOW_CONNECTIONS false")
END = sql.SQL("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {text}")
RESUME = sql.SQL("ALTER DATABASE {name} ALLOW_CONNECTIONS true")


@contextmanager
def away(databases: PersonalDatabases, name: str) -> Iterator[None]:
    """In the block, the server refuses every connection to this database, and has ended those that were open."""
    names = {"name": sql.Identifier(name), "text": sql.Literal(name)}
    databases.cluster.execute(STOP.format(**names))
    databases.cluster.execute(END.format(**names))
    try:
        yield
    finally:
        databases.cluster.execute(RESUME.format(**names))


def assert_everything_else_works(public: httpx2.Client) -> None:
    before = public.get("/Log/auth/statistics").json()["total"]
    assert public.post("/Log/auth", json=event("u")).status_code == 200
    assert public.get("/Log/auth/statistics").json()["total"] == before + 1
    assert public.get("/readyz").status_code == 200


def assert_unavailable(answer: httpx2.Response, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (503, code), answer.text
    assert int(answer.headers["Retry-After"]) > 0


def test_while_personal_is_away_accounts_are_and_events_are_not(
    public: httpx2.Client, personal_databases: PersonalDatabases, email: str, token: str
) -> None:
    assert public.get("/api/v1/auth/me", headers=bearer(token)).status_code == 200
    with away(personal_databases, personal_databases.personal):
        assert_unavailable(register(public, new_email()), "not-recorded")
        for _ in range(10):  # an attempt that was not compared is no failure
            assert_unavailable(login(public, email), "not-recorded")
        assert_unavailable(public.get("/api/v1/auth/me", headers=bearer(token)), "not-recorded")
        assert public.get("/api/v1/auth/me", headers=bearer(token + "A")).status_code == 401
        assert_everything_else_works(public)

    assert login(public, email).status_code == 200
    assert public.get("/api/v1/users/me", headers=bearer(token)).status_code == 200


def test_while_the_keyring_is_away_only_personal_data_is(
    public: httpx2.Client, personal_databases: PersonalDatabases, email: str, token: str
) -> None:
    wanted = new_email()
    with away(personal_databases, personal_databases.keyring):
        assert_unavailable(register(public, wanted), "not-recorded")
        assert_unavailable(public.get("/api/v1/auth/me", headers=bearer(token)), "not-recorded")
        assert login(public, email).status_code == 200
        assert_everything_else_works(public)

    # Nothing of the failed registration is in the way.
    assert register(public, wanted).status_code == 201


def test_while_the_private_service_is_away_a_token_cannot_be_checked(
    start_product: StartProduct, personal_databases: PersonalDatabases
) -> None:
    product = start_product(env=personal_databases.environment)
    with httpx2.Client(base_url=product.public_url, timeout=20, trust_env=False) as public:
        register(public, email := new_email())
        token = login(public, email).json()["access_token"]
        product.private.kill()

        assert_unavailable(register(public, new_email()), "not-recorded")
        assert_unavailable(login(public, email), "not-recorded")
        assert_unavailable(public.get("/api/v1/auth/me", headers=bearer(token)), "not-recorded")
        # What cannot be one of ours needs no question.
        assert public.get("/api/v1/auth/me", headers=bearer("a.b.c")).status_code == 401
        assert public.get("/Log/auth/statistics").status_code == 200


@pytest.fixture(scope="module")
def without_accounts(start_product: StartProduct, personal_databases: PersonalDatabases) -> Product:
    """All settings of accounts but one."""
    settings = personal_databases.environment
    del settings["TOKEN_SIGNING_KEYS"]
    return start_product(env=settings)


@pytest.mark.parametrize("slash", ["", "/"])
def test_without_the_settings_the_routes_say_so(without_accounts: Product, slash: str) -> None:
    with httpx2.Client(base_url=without_accounts.public_url, timeout=20, trust_env=False) as public:
        body = {"email": "a@example.com", "password": PHRASE}
        answers = [
            public.post(f"/api/v1/auth/register{slash}", json=body),
            public.post(f"/api/v1/auth/login{slash}", json=body),
            public.get(f"/api/v1/auth/me{slash}", headers=bearer(signed(claims()))),
            public.get(f"/api/v1/users/me{slash}", headers=bearer(signed(claims()))),
        ]
        for answer in answers:
            assert_unavailable(answer, "not-configured")
            assert answer.json()["detail"] == "accounts are not configured in this installation"
        # Without a credential, or with a wrong body, it is the client's turn first.
        assert public.get("/api/v1/auth/me").status_code == 401
        assert public.post("/api/v1/auth/register", json={}).status_code == 422
        # Where a token is no way to pass, it is refused and nothing is said of accounts.
        assert public.get("/Log/auth/statistics", headers=bearer(signed(claims()))).status_code == 401
        assert_everything_else_works(public)
