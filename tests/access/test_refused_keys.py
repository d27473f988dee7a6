"""A key that is not valid is a 401, and one without the scope a 403; never the default project, and never a 500."""

import secrets
import string
from collections.abc import Callable

import httpx2
import pytest

from contract.access import checksum, new_key
from tests.access.conftest import key_id, make_key, make_project
from tests.auth_events.payloads import event
from tests.database import command, rows
from tests.servers import Product

STATISTICS = "/Log/auth/statistics"
ROUTES = [
    ("GET", STATISTICS),
    ("GET", "/Log/auth/timeseries"),
    ("POST", "/Log/auth"),
    ("POST", "/Log/auth/batch"),
]


def ask(public: httpx2.Client, method: str, path: str, headers: list[tuple[str, str | bytes]]) -> httpx2.Response:
    body = {"GET": None, "POST": [event("u")] if path.endswith("batch") else event("u")}[method]
    encoded = [(name.encode(), value if isinstance(value, bytes) else value.encode()) for name, value in headers]
    return public.request(method, path, json=body, headers=encoded)


def assert_not_authenticated(answer: httpx2.Response) -> None:
    assert answer.status_code == 401, answer.text
    assert list(answer.json()) == ["detail"]
    assert answer.headers["www-authenticate"] == "Bearer"


def with_other_secret(key: str) -> str:
    unchecked = f"ds_live_{key_id(key)}_{''.join(secrets.choice(string.ascii_letters) for _ in range(43))}"
    return unchecked + checksum(unchecked)


ATTACKS: dict[str, Callable[[str], bytes]] = {
    "empty": lambda _: b"",
    "truncated": lambda key: key[:-1].encode(),
    "id alone": lambda key: key_id(key).encode(),
    "other checksum": lambda key: (key[:-1] + ("0" if key[-1] != "0" else "1")).encode(),
    "other secret": lambda key: with_other_secret(key).encode(),
    "unknown": lambda _: new_key().text.encode(),
    "sql": lambda key: f"{key}' OR 'a'='a".encode(),
    "long": lambda key: key.encode() + b"x" * 40_000,
    "not ascii": lambda key: key.encode() + b"\xff\xfe",
    "other digits": lambda key: key.replace(key_id(key), "é" * 12).encode(),
    "two keys": lambda key: f"{key}, {key}".encode(),
}


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("attack", ATTACKS)
def test_what_is_no_key_is_401_and_records_nothing(
    product: Product, public: httpx2.Client, key: str, attack: str, method: str, path: str
) -> None:
    [(before,)] = rows(product.database, "SELECT count(*) FROM auth_event")
    value = ATTACKS[attack](key)
    assert_not_authenticated(ask(public, method, path, [("X-API-Key", value)]))
    assert_not_authenticated(ask(public, method, path, [("Authorization", (b"Bearer " + value).rstrip())]))
    assert rows(product.database, "SELECT count(*) FROM auth_event") == [(before,)]
    assert ask(public, method, path, [("X-API-Key", key)]).status_code == 200


def test_a_header_of_64_kib_is_refused(public: httpx2.Client) -> None:
    assert public.get(STATISTICS, headers={"X-API-Key": "x" * 65_536}).status_code in {400, 401, 431}
    assert public.get(STATISTICS).status_code == 200


@pytest.mark.parametrize("value", ["Basic dXNlcjpwYXNz", "Bearer", "ds_live_", ""])
def test_another_scheme_is_401(public: httpx2.Client, value: str) -> None:
    assert_not_authenticated(public.get(STATISTICS, headers={"Authorization": value}))


def test_two_different_keys_are_401(product: Product, public: httpx2.Client, project: str, key: str) -> None:
    other = make_key(product, project)
    for pair in (
        [("X-API-Key", key), ("X-API-Key", other)],
        [("X-API-Key", key), ("Authorization", f"Bearer {other}")],
    ):
        assert_not_authenticated(ask(public, "GET", STATISTICS, list(pair)))
    assert ask(public, "GET", STATISTICS, [("X-API-Key", key), ("X-API-Key", key)]).status_code == 200


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("scope", ["ingest", "read", "manage"])
def test_a_key_does_what_its_scopes_say(
    product: Product, public: httpx2.Client, scope: str, method: str, path: str
) -> None:
    only = make_key(product, make_project(product), scope)
    allowed = {"POST": "ingest", "GET": "read"}[method] == scope
    answer = ask(public, method, path, [("X-API-Key", only)])
    assert answer.status_code == (200 if allowed else 403)
    if not allowed:
        assert "scope" in answer.json()["detail"]


def test_a_revoked_an_expired_and_an_inactive_key_are_401(product: Product, public: httpx2.Client) -> None:
    project = make_project(product)
    valid, revoked, expired = (make_key(product, project) for _ in range(3))
    command(product, "revoke-key", project, key_id(revoked))
    rows(
        product.database,
        "UPDATE api_key SET expires_at = now() - interval '1 second' WHERE key_id = %(id)s",
        {"id": key_id(expired)},
    )
    assert_not_authenticated(public.get(STATISTICS, headers={"X-API-Key": revoked}))
    assert_not_authenticated(public.get(STATISTICS, headers={"X-API-Key": expired}))
    assert public.get(STATISTICS, headers={"X-API-Key": valid}).status_code == 200

    unseen = make_key(product, project)
    rows(product.database, "UPDATE project SET is_active = false WHERE project_key = %(key)s", {"key": project})
    assert_not_authenticated(public.get(STATISTICS, headers={"X-API-Key": unseen}))
