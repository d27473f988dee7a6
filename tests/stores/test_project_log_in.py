"""The log-in of a store: an API key becomes a token, which may do what the key may, and ends with it."""

import base64
import json
import time

import httpx2
import pytest

from contract.access import Scope, new_key
from tests.access.conftest import key_id, make_key, make_project
from tests.access.key_commands import connected, revoke_key
from tests.accounts.conftest import bearer
from tests.accounts.forged import claims_of, signed
from tests.database import rows
from tests.servers import Product

SECONDS_MAX = 10.0


@pytest.fixture(scope="module")
def product(product_with_accounts: Product) -> Product:
    """Tokens can be signed."""
    return product_with_accounts


def log_in(public: httpx2.Client, key: object) -> httpx2.Response:
    return public.post("/api/auth", json={"api_key": key})


def token_of(public: httpx2.Client, key: str) -> str:
    return str(log_in(public, key).raise_for_status().json()["access_token"])


def status(public: httpx2.Client, token: str, path: str = "/api/event/amount/t") -> int:
    return public.get(path, headers=bearer(token)).status_code


def until(public: httpx2.Client, token: str, expected: int) -> None:
    """Notifications are at once; without them it would take half a minute."""
    ends = time.monotonic() + SECONDS_MAX
    while status(public, token) != expected:
        assert time.monotonic() < ends


def test_the_answer_is_that_of_the_document_and_no_cache_keeps_it(product: Product, public: httpx2.Client) -> None:
    project = make_project(product)
    key = make_key(product, project)
    answer = public.post("/api/auth/", json={"api_key": key, "unread": 1})
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert answer.json() == {"access_token": answer.json()["access_token"], "token_type": "Bearer", "expires_in": 3600}
    header, payload = (
        json.loads(base64.urlsafe_b64decode(part + "==")) for part in answer.json()["access_token"].split(".")[:2]
    )
    [(number,)] = rows(product.database, "SELECT project_id FROM project WHERE project_key = %(k)s", {"k": project})
    assert header == {"alg": "EdDSA", "kid": "a", "typ": "JWT"}
    assert payload.keys() == {"iss", "aud", "sub", "api_key", "iat", "exp"}
    assert (payload["aud"], payload["sub"], payload["api_key"]) == ("project", str(number), key_id(key))
    assert payload["exp"] - payload["iat"] == 3600


@pytest.mark.parametrize("why", ["unknown", "mistyped", "no key", "revoked", "expired", "of a deleted project"])
def test_a_key_that_is_not_valid_is_401(product: Product, public: httpx2.Client, why: str) -> None:
    project = make_project(product)
    key = make_key(product, project)
    sent = {"unknown": new_key().text, "mistyped": key[:-1] + "_", "no key": "x"}.get(why, key)
    changes = {
        "revoked": "UPDATE api_key SET revoked_at = now() WHERE key_id = %(id)s",
        "expired": "UPDATE api_key SET expires_at = now() WHERE key_id = %(id)s",
        "of a deleted project": "UPDATE project SET deleted_at = now(), is_active = false WHERE project_key = %(key)s",
    }
    if why in changes:
        assert log_in(public, key).status_code == 200
        rows(product.database, changes[why], {"id": key_id(key), "key": project})
    answer = log_in(public, sent)
    assert (answer.status_code, answer.json()["detail"]) == (401, "Incorrect API Key")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert key not in answer.text


def test_a_blocked_store_is_403_at_log_in_and_401_after_it(product: Product, public: httpx2.Client) -> None:
    project = make_project(product)
    key = make_key(product, project)
    token = token_of(public, key)
    assert status(public, token) == 200
    rows(product.database, "UPDATE project SET is_active = false WHERE project_key = %(key)s", {"key": project})
    answer = log_in(public, key)
    assert (answer.status_code, answer.json()["detail"]) == (403, "Available only for active consumers")
    wrong = key[:20] + new_key().text[20:]
    assert log_in(public, wrong).status_code == 401
    until(public, token, 401)


@pytest.mark.parametrize("body", [{}, {"api_key": None}, {"api_key": 7}, {"api_key": "k" * 256}, [], "key"])
def test_a_malformed_log_in_is_422(public: httpx2.Client, body: object) -> None:
    assert public.post("/api/auth", json=body).status_code == 422
    assert public.post("/api/auth", content=b"").status_code == 422


def test_a_token_ends_with_its_key_and_with_no_other(product: Product, public: httpx2.Client) -> None:
    project = make_project(product)
    key, other = make_key(product, project), make_key(product, project)
    token, of_other = token_of(public, key), token_of(public, other)
    assert status(public, token) == status(public, of_other) == 200
    with connected(product.database) as conn:
        revoke_key(conn, project, key_id(key))
    until(public, token, 401)
    assert status(public, of_other) == 200


def test_a_token_is_accepted_wherever_the_key_is(product: Product, public: httpx2.Client) -> None:
    project = make_project(product)
    token = bearer(token_of(public, make_key(product, project)))
    request = {"url_path": "/", "method": "GET", "response_status_code": 200, "response_time_ms": 1}
    assert public.post("/api/v1/track", json=request, headers=token).status_code == 201
    summary = public.get(f"/api/v1/projects/{project}/metrics/summary", headers=token)
    assert (summary.status_code, summary.json()["request_count"]) == (200, 1)
    assert public.get(f"/api/v1/projects/{make_project(product)}/metrics/summary", headers=token).status_code == 404
    event = {"userKey": "u", "deviceType": "TV"}
    assert public.post("/Log/auth", json=event, headers=token).status_code == 200
    assert public.get("/Log/auth/statistics?deviceType=TV", headers=token).json()["count"] == 1
    assert public.get("/Log/auth/statistics?deviceType=TV").json()["count"] == 0


def test_a_token_has_the_scopes_of_its_key(product: Product, public: httpx2.Client) -> None:
    project = make_project(product)
    reading = bearer(token_of(public, make_key(product, project, Scope.READ)))
    recording = bearer(token_of(public, make_key(product, project, Scope.INGEST)))
    assert public.get("/api/event/amount/t", headers=reading).status_code == 200
    assert public.post("/api/event", json={}, headers=reading).status_code == 403
    assert public.get("/api/event/amount/t", headers=recording).status_code == 403
    assert public.post("/api/event", json={}, headers=recording).status_code == 422


@pytest.mark.parametrize("changes", [{"sub": "1"}, {"api_key": "0" * 12}, {"sub": "01"}, {"sub": "-1"}, {"api_key": 1}])
def test_a_good_signature_for_another_project_or_key_is_401(
    product: Product, public: httpx2.Client, changes: dict[str, object]
) -> None:
    token = token_of(public, make_key(product, make_project(product)))
    assert status(public, signed(claims_of(token))) == 200
    assert status(public, signed(claims_of(token, **changes))) == 401


def test_a_token_uses_up_the_rate_limit_of_its_key_and_a_forged_one_nothing(
    product: Product, public: httpx2.Client
) -> None:
    project = make_project(product)
    key = make_key(product, project)
    limit = "UPDATE api_key SET rate_limit = '3/hour' WHERE key_id = %(id)s"
    rows(product.database, limit, {"id": key_id(key)})
    token = token_of(public, key)
    for _ in range(5):
        assert status(public, token[:-4] + "AAAA") == 401
    assert [status(public, token) for _ in range(2)] == [200, 200]
    assert public.get("/api/event/amount/t", headers={"X-API-Key": key}).status_code == 200
    answer = public.get("/api/event/amount/t", headers=bearer(token))
    assert (answer.status_code, answer.headers["RateLimit-Limit"]) == (429, "3")
