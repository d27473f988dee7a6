"""A token is what the private service signed, and nothing else; the wrong kind of credential is known and refused."""

import base64
import json

import httpx2
import pytest

from tests.access.conftest import make_key, make_project
from tests.accounts.conftest import bearer, login, new_email, register
from tests.accounts.forged import ATTACKS, OURS, PUBLIC, claims, encoded, signed
from tests.personal_databases import PersonalDatabases
from tests.servers import Product, StartProduct

ME = "/api/v1/auth/me"
AMOUNT = "/api/event/amount/purchase"
FAMILY_1 = "/Log/auth/statistics"


@pytest.fixture(scope="module")
def project_token(product: Product, public: httpx2.Client) -> str:
    """A token of a project."""
    return log_in(public, make_key(product, make_project(product)))


@pytest.fixture(params=["account", "project"], scope="module")
def opened_by(request: pytest.FixtureRequest) -> tuple[str, str]:
    """A real token of each kind, and a route that it opens."""
    if request.param == "account":
        return request.getfixturevalue("token"), ME
    return request.getfixturevalue("project_token"), AMOUNT


def log_in(public: httpx2.Client, key: str) -> str:
    return str(public.post("/api/auth", json={"api_key": key}).raise_for_status().json()["access_token"])


def test_a_token_says_who_signed_it_for_what_and_how_long(token: str) -> None:
    header, payload = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2])
    assert header == {"alg": "EdDSA", "kid": "a", "typ": "JWT"}
    assert payload.keys() == {"iss", "aud", "sub", "iat", "exp"}
    assert (payload["iss"], payload["aud"]) == ("device-registration-api", "account")
    assert payload["exp"] - payload["iat"] == 3600


def test_the_published_keys_are_public_halves_only(private: httpx2.Client) -> None:
    answer = private.get("/administration/token-keys")
    assert answer.json() == {
        "keys": [{"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": "a", "x": encoded(PUBLIC)}]
    }
    assert private.get("/administration/token-keys", headers={"Authorization": "Bearer x"}).status_code == 401


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_forged_token_is_401_with_one_and_the_same_body(
    public: httpx2.Client, opened_by: tuple[str, str], attack: str
) -> None:
    token, path = opened_by
    forged = ATTACKS[attack](token)
    refused = public.get(path, headers=bearer(forged))
    assert refused.status_code == 401, refused.text
    assert refused.headers["WWW-Authenticate"] == "Bearer"
    assert refused.json()["detail"] == "the token is not valid"
    # Never the default project's figures.
    assert public.get(FAMILY_1, headers=bearer(forged)).status_code == 401
    assert public.get(path, headers=bearer(token)).status_code == 200


def test_a_good_signature_for_an_unknown_account_is_401(public: httpx2.Client) -> None:
    assert public.get(ME, headers=bearer(signed(claims()))).status_code == 401


@pytest.mark.parametrize("value", [None, "", "Bearer", "Basic dXNlcjpwYXNz", "bearer"])
def test_without_a_token_it_is_401(public: httpx2.Client, value: str | None) -> None:
    refused = public.get(ME, headers={} if value is None else {"Authorization": value})
    assert (refused.status_code, refused.json()["code"]) == (401, "not-authenticated")
    assert refused.headers["WWW-Authenticate"] == "Bearer"


def test_two_tokens_are_401(public: httpx2.Client, token: str) -> None:
    register(public, email := new_email())
    other = login(public, email).json()["access_token"]
    lines = [("Authorization", f"Bearer {each}") for each in (token, other)]
    assert public.get(ME, headers=lines).status_code == 401
    assert public.get(ME, headers=[lines[0], lines[0]]).status_code == 200
    assert public.get(ME, headers=[lines[0], ("X-API-Key", token)]).status_code == 401


def test_a_token_in_the_header_of_keys_is_401(public: httpx2.Client, token: str) -> None:
    assert public.get(ME, headers={"X-API-Key": token}).status_code == 401
    assert public.get(FAMILY_1, headers={"X-API-Key": token}).status_code == 401


@pytest.mark.parametrize("path", [ME, "/api/v1/users/me"])
def test_an_api_key_or_a_projects_token_on_an_accounts_route_is_403(
    product: Product, public: httpx2.Client, project_token: str, path: str
) -> None:
    key = make_key(product, make_project(product))
    for headers in ({"X-API-Key": key}, bearer(key), bearer(project_token)):
        refused = public.get(path, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (403, "needs-account-token")
    assert public.get(path, headers=bearer(key[:-1] + "_")).status_code == 401


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_accounts_token_on_a_projects_route_is_403(public: httpx2.Client, token: str, method: str) -> None:
    path = FAMILY_1 if method == "GET" else "/Log/auth"
    body = None if method == "GET" else {"userKey": "u", "deviceType": "TV"}
    refused = public.request(method, path, headers=bearer(token), json=body)
    assert (refused.status_code, list(refused.json())) == (403, ["detail"])
    assert public.get(FAMILY_1).json()["total"] == 0


def test_a_token_of_a_key_that_is_not_published_any_more_is_401(
    start_product: StartProduct, personal_databases: PersonalDatabases, email: str
) -> None:
    product = start_product(
        env=personal_databases.environment | {"TOKEN_SIGNING_KEYS": "b:" + encoded(bytes([9]) * 32)}
    )
    with httpx2.Client(base_url=product.public_url, timeout=20, trust_env=False) as client:
        token = login(client, email).json()["access_token"]
        assert client.get(ME, headers=bearer(token)).status_code == 200
        # The key of the module's other product, which this one does not publish.
        assert client.get(ME, headers=bearer(signed(claims(), OURS))).status_code == 401
