"""Register, log in, and who one is: over HTTP, with both services and three databases."""

from datetime import UTC, datetime, timedelta

import httpx2
import pytest

from tests.accounts.conftest import PHRASE, bearer, login, new_email, register
from tests.personal_databases import PersonalDatabases

AUTH = "/api/v1/auth"


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_person_registers_logs_in_and_reads_the_account(public: httpx2.Client, slash: str) -> None:
    email = new_email()
    made = public.post(
        f"{AUTH}/register{slash}", json={"email": email, "password": PHRASE, "full_name": " Ana Test ", "more": [1]}
    )
    assert made.status_code == 201
    account = made.json()
    assert account.keys() == {"email", "full_name", "is_active", "created_at"}
    assert (account["email"], account["full_name"], account["is_active"]) == (email, "Ana Test", True)
    assert abs(datetime.fromisoformat(account["created_at"]) - datetime.now(UTC)) < timedelta(minutes=1)

    entered = public.post(f"{AUTH}/login{slash}", json={"email": email, "password": PHRASE})
    assert entered.status_code == 200
    assert entered.json() | {"access_token": ""} == {"access_token": "", "token_type": "bearer", "expires_in": 3600}

    for path in ("auth/me", "users/me"):
        seen = public.get(f"/api/v1/{path}{slash}", headers=bearer(entered.json()["access_token"]))
        assert (seen.status_code, seen.json()) == (200, account)
        assert seen.headers["Cache-Control"] == "no-store"
    assert made.headers["Cache-Control"] == entered.headers["Cache-Control"] == "no-store"


def test_case_matters_nowhere_and_the_address_is_shown_as_it_was_written(public: httpx2.Client) -> None:
    email = new_email()
    assert register(public, email).status_code == 201
    entered = login(public, email.lower())
    assert entered.status_code == 200
    assert register(public, email.upper()).status_code == 409

    seen = public.get(f"{AUTH}/me", headers=bearer(entered.json()["access_token"])).json()
    assert (seen["email"], seen["full_name"]) == (email, None)


def test_a_duplicate_is_a_conflict_and_changes_nothing(public: httpx2.Client, email: str) -> None:
    refused = register(public, email.swapcase(), "another-strong-passphrase-7")
    assert refused.status_code == 409
    assert refused.json() == {
        "type": "about:blank",
        "title": "Conflict",
        "status": 409,
        "detail": "there is an account with this e-mail address",
        "code": "conflict",
        "error": "there is an account with this e-mail address",
    }
    assert login(public, email).status_code == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"email": "a@example.com"}, "password"),
        ({"password": PHRASE}, "email"),
        ({"email": "a@example.com", "password": ""}, "password"),
        ({"email": "a@example.com", "password": "x" * 1_025}, "password"),
        ({"email": "a@example.com", "password": 7}, "password"),
        ({"email": "no address", "password": PHRASE}, "email"),
        ({"email": "a@localhost", "password": PHRASE}, "email"),
        ({"email": "a@b@example.com", "password": PHRASE}, "email"),
        ({"email": "Ana <a@example.com>", "password": PHRASE}, "email"),
        ({"email": f"{'a' * 250}@example.com", "password": PHRASE}, "email"),
        ({"email": "a\u0000@example.com", "password": PHRASE}, "email"),
        ({"email": None, "password": PHRASE}, "email"),
        ({"email": "a@example.com", "password": PHRASE, "full_name": " \u200b"}, "full_name"),
        ({"email": "a@example.com", "password": PHRASE, "full_name": "x" * 256}, "full_name"),
        ({"email": "a@example.com", "password": "password123"}, "password"),
        ({"email": "marble.otter.canyon@example.com", "password": "marble.otter.canyon"}, "password"),
        ({"email": "a@example.com", "password": "Zebedee Ophirwynne", "full_name": "Zebedee Ophirwynne"}, "password"),
    ],
    ids=str,
)
def test_a_wrong_field_is_named_and_the_password_is_not_repeated(
    public: httpx2.Client, body: dict[str, object], field: str
) -> None:
    refused = public.post(f"{AUTH}/register", json=body)

    assert refused.status_code == 422
    assert [each["field"] for each in refused.json()["errors"]] == [field]
    password = body.get("password")
    assert not (isinstance(password, str) and password and password in refused.text)


def test_a_weak_password_is_refused_with_advice(public: httpx2.Client) -> None:
    refused = register(public, new_email(), "aaaaaaaa")

    assert refused.status_code == 422
    [wrong] = refused.json()["errors"]
    assert wrong["field"] == "password"
    assert "too easy to guess" in wrong["message"]
    assert "Add another word or two" in wrong["message"]


@pytest.mark.parametrize(
    "phrase",
    ["correct horse battery staple " * 30, "пароль-из-трёх-слов-и-числа-77", "\u0000\t tab-and-nul-7-canyon"],
)
def test_any_unicode_text_is_a_password(public: httpx2.Client, phrase: str) -> None:
    email = new_email()
    assert register(public, email, phrase).status_code == 201
    assert login(public, email, phrase).status_code == 200
    assert login(public, email, phrase[:-1]).status_code == 401


def test_a_body_that_is_too_large_or_no_json_is_refused(public: httpx2.Client) -> None:
    for path in ("register", "login"):
        assert public.post(f"{AUTH}/{path}", content=b"x" * 70_000).status_code == 413
        assert public.post(f"{AUTH}/{path}", content=b'{"email":').status_code == 422
        assert public.post(f"{AUTH}/{path}?x=1", json={}).status_code == 422
        assert public.get(f"{AUTH}/{path}").status_code == 405


def test_the_hash_is_argon2id_with_the_stated_parameters(
    public: httpx2.Client, email: str, personal_databases: PersonalDatabases
) -> None:
    assert login(public, email).status_code == 200
    for (password_hash,) in personal_databases.rows("SELECT password_hash FROM account"):
        assert password_hash.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
