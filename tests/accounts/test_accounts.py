"""Register, log in, and who one is: over HTTP, with both services and three databases."""

import base64
import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import httpx2
import pytest

from tests.accounts.conftest import PHRASE, bearer, login, new_email, register
from tests.personal_databases import PersonalDatabases
from tests.servers import Product, run_command

AUTH = "/api/v1/auth"


def own_id(token: str) -> str:
    """The account's id, as the token has it."""
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    return str(UUID(claims["sub"]))


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
        assert (seen.status_code, seen.json()) == (200, account | {"id": own_id(entered.json()["access_token"])})
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


def keyed(
    public: httpx2.Client, key: str, email: str, phrase: str = PHRASE, name: str | None = None
) -> httpx2.Response:
    body = {"email": email, "password": phrase, "full_name": name}
    return public.post(f"{AUTH}/register", json=body, headers={"Idempotency-Key": key})


def test_a_repeat_under_its_key_gets_the_first_answer_and_another_body_is_refused(public: httpx2.Client) -> None:
    email, key = new_email(), str(uuid4())
    first = keyed(public, key, email, name="Ana")
    assert (first.status_code, "Idempotent-Replayed" in first.headers) == (201, False)
    repeat = keyed(public, key, email, name="Ana")
    assert (repeat.status_code, repeat.content) == (201, first.content)
    assert repeat.headers["Idempotent-Replayed"] == "true"

    for other in (
        keyed(public, key, email.lower(), name="Ana"),
        keyed(public, key, email, name="Ben"),
        keyed(public, key, email, "another-strong-passphrase-7", name="Ana"),
        keyed(public, key, new_email()),
    ):
        assert (other.status_code, other.json()["code"]) == (409, "idempotency-key-reused")
    assert keyed(public, str(uuid4()), email, name="Ana").json()["code"] == "conflict"
    assert register(public, email).json()["code"] == "conflict"


def test_guessing_a_password_by_repeats_is_slowed_down(public: httpx2.Client) -> None:
    email, key = new_email(), str(uuid4())
    assert keyed(public, key, email).status_code == 201
    answers = [keyed(public, key, email, f"another-strong-passphrase-{number}").status_code for number in range(6)]
    assert answers == [409] * 5 + [429]
    assert login(public, email).status_code == 200


def test_of_the_same_registration_sent_many_times_at_once_one_is_stored(product: Product) -> None:
    email, key = new_email(), str(uuid4())

    def send(_: int) -> httpx2.Response:
        with httpx2.Client(base_url=product.public_url, timeout=30, trust_env=False) as client:
            return keyed(client, key, email)

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(send, range(4)))
    assert {(answer.status_code, answer.content) for answer in answers} == {(201, answers[0].content)}
    assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) == 1


def test_of_twenty_at_once_in_different_case_one_is_stored(product: Product) -> None:
    email = new_email()

    def send(number: int) -> int:
        written = email.lower() if number % 2 else email.upper()
        with httpx2.Client(base_url=product.public_url, timeout=30, trust_env=False) as client:
            while (answer := register(client, written)).status_code == 503:  # too many passwords at once
                time.sleep(float(answer.headers["Retry-After"]) / 10)
            return answer.status_code

    with ThreadPoolExecutor(20) as threads:
        assert sorted(threads.map(send, range(20))) == [201] + [409] * 19


def test_an_old_key_is_forgotten(
    product: Product, public: httpx2.Client, personal_databases: PersonalDatabases
) -> None:
    key, emails = str(uuid4()), [new_email(), new_email()]
    assert keyed(public, key, emails[0]).status_code == 201
    personal_databases.rows("UPDATE registration_key SET created_at = created_at - interval '48 hours'")
    assert keyed(public, key, emails[1]).status_code == 201
    assert keyed(public, key, emails[1]).headers["Idempotent-Replayed"] == "true"

    personal_databases.rows("UPDATE registration_key SET created_at = created_at - interval '48 hours'")
    run_command(product.database.writer_env | personal_databases.environment, "maintain")
    assert personal_databases.rows("SELECT count(*) FROM registration_key") == [(0,)]
