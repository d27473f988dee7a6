"""Without the databases of personal data, or without their settings, people are away and everything else works."""

from collections.abc import Callable

import httpx2

from tests.accounts.test_away import assert_everything_else_works, assert_unavailable, away
from tests.people.conftest import USER, USERS, client_of, store_user, user
from tests.personal_databases import PersonalDatabases
from tests.servers import StartProduct

Requests = list[Callable[[], httpx2.Response]]


def every_request(http: httpx2.Client, user_id: str, email: str) -> Requests:
    """One for each route."""
    return [
        lambda: http.get(USERS),
        lambda: http.get(f"{USERS}/{user_id}"),
        lambda: http.post(USERS, json=user()),
        lambda: http.post(USERS, json=user(), headers={"Idempotency-Key": "k"}),
        lambda: http.put(f"{USERS}/{user_id}", json={"username": "x"}),
        lambda: http.get(f"{USER}/{email}"),
        lambda: http.post(USER, json=store_user()),
        lambda: http.patch(USER, json={"email": email, "first_name": "x"}),
    ]


def test_while_personal_is_away_people_are(http: httpx2.Client, personal_databases: PersonalDatabases) -> None:
    body = user()
    created = http.post(USERS, json=body).json()
    with away(personal_databases, personal_databases.personal):
        for ask in every_request(http, created["id"], str(body["email"])):
            assert_unavailable(ask(), "not-recorded")
        # What is wrong with a request is said all the same.
        assert http.post(USERS, json={}).status_code == 422
        assert_everything_else_works(http)
    assert http.get(USERS).json() == [created]


def test_while_the_keyring_is_away_nobody_is_read_or_stored(
    http: httpx2.Client, personal_databases: PersonalDatabases
) -> None:
    body = user()
    created = http.post(USERS, json=body).json()
    wanted = store_user()
    with away(personal_databases, personal_databases.keyring):
        for answer in (
            http.get(USERS),
            http.get(f"{USERS}/{created['id']}"),
            http.post(USER, json=wanted),
            http.put(f"{USERS}/{created['id']}", json={"username": "x"}),
        ):
            assert_unavailable(answer, "not-recorded")
        # Which person has an address is no sealed data.
        assert http.get(f"{USER}/{body['email']}").json() == {"id": created["id"]}
        assert_everything_else_works(http)
    # Nothing of the failed creation is in the way.
    assert http.post(USER, json=wanted).status_code == 201


def test_without_a_setting_the_routes_say_so(
    start_product: StartProduct, personal_databases: PersonalDatabases
) -> None:
    settings = personal_databases.environment
    del settings["PERSONAL_INDEX_KEYS"]
    with client_of(start_product(env=settings)) as http:
        for ask in every_request(http, "00000000-0000-4000-8000-000000000000", "ana@example.com"):
            answer = ask()
            assert_unavailable(answer, "not-configured")
            assert answer.json()["detail"] == "personal data is not configured in this installation"
        assert http.post(USERS, json={}).status_code == 422
        assert_everything_else_works(http)


def test_people_need_no_keys_that_sign_tokens_and_no_private_service_no_people(
    start_product: StartProduct, personal_databases: PersonalDatabases
) -> None:
    settings = personal_databases.environment
    del settings["TOKEN_SIGNING_KEYS"]
    product = start_product(env=settings)
    with client_of(product) as http:
        created = http.post(USERS, json=user()).json()
        product.private.kill()
        for ask in every_request(http, created["id"], "ana@example.com"):
            assert_unavailable(ask(), "not-recorded")
