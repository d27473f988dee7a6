"""The OpenAPI documents against the services: random requests, and every example that they give."""

import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest

from local.services import ROOT, Service
from statistics_api.access.shares import FIGURES
from tests.access.conftest import make_key
from tests.auth_events.payloads import event
from tests.database import rows
from tests.log_files import all_written, lines_of
from tests.personal_databases import PersonalDatabases
from tests.projects.conftest import Account
from tests.servers import Product

CONFIG = Path(__file__).with_name("schemathesis.toml")
# Of each operation, beside all that the coverage phase derives from the schema.
EXAMPLES = 4
REQUESTS_MIN = 300
SEED = 20_261_122
ENDS = 600
# The device that the examples of bodies name.
DEVICE = "sensor-7"
# Only with the scope `manage`, as each DELETE.
MANAGED = ("/erasure/{receipt}", "/export", "/suppress", "/unsuppress")
# Where an example names what no installation has.
UNKNOWN = {
    "/api/auth",
    "/administration/project-logins",
    "/api/store/block",
    "/api/store/unblock",
    "/api/store/{store_id}",
    "/api/event/store-events-amount/{store_id}",
}
SHARED = {path for paths in FIGURES.values() for path in paths}
METRICS = ("", "/summary", "/endpoints", "/distribution", "/time-series")


@pytest.fixture(scope="module")
def with_key(product: Product) -> dict[str, str]:
    """The header of a key of the default project, which is also the project in the examples of paths."""
    return {"X-API-Key": make_key(product, "default")}


@pytest.fixture(scope="module")
def product(product_with_accounts: Product) -> Product:
    """Every route can be served, and the user that examples name is there."""
    user = {"user": "0190a6f2-7c1e-7d3a-9b7e-2f4c8d1e6a55"}
    insert = "INSERT INTO project_person (project_id, person_id) VALUES (1, %(user)s)"
    rows(product_with_accounts.database, insert, user)
    return product_with_accounts


def fuzz(service: Service, folder: Path, *options: str, project: str = "default") -> None:
    """Send random requests to every documented operation; most paths name this project."""
    print(f"--seed {SEED}")
    finished = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run", f"{service.url}/openapi.json",
         "--phases", "examples,coverage,fuzzing", "--max-examples", str(EXAMPLES),
         "--seed", str(SEED), "--continue-on-failure", "--no-shrink", *options],
        cwd=folder,
        env=os.environ
        | {"SCHEMATHESIS_HOOKS": "tests.auth_events.schemathesis_hooks", "PYTHONPATH": str(ROOT), "PROJECT": project},
        capture_output=True,
        text=True,
        timeout=ENDS,
        check=False,
    )  # fmt: skip
    print(finished.stdout, finished.stderr)
    assert finished.returncode == 0


def assert_no_server_error(product: Product, service: Service) -> None:
    all_written(product.public, product.private)
    lines = [*lines_of(product.public), *lines_of(product.private)]
    troubles = [line for line in lines if line["level"] == "error" or line.get("status", 0) >= 500]
    assert troubles == []
    assert len([line for line in lines_of(service) if line["event"] == "request"]) > REQUESTS_MIN


@pytest.mark.timeout(ENDS + 60)
def test_random_requests_to_the_public_service(product: Product, with_key: dict[str, str], tmp_path: Path) -> None:
    fuzz(product.public, tmp_path, "-H", f"X-API-Key: {with_key['X-API-Key']}")
    assert_no_server_error(product, product.public)


@pytest.mark.timeout(ENDS + 60)
def test_random_requests_of_an_account(product: Product, public: httpx2.Client, tmp_path: Path) -> None:
    """To what only accounts may do, and to the figures; the project of the account stays."""
    account = Account(public)
    project = account.project()["project_key"]
    only = ["--include-path-regex", "^/api/v1/(auth/me|users|projects)", "--exclude-method", "DELETE"]
    fuzz(product.public, tmp_path, "-H", f"Authorization: Bearer {account.token}", *only, project=project)
    assert_no_server_error(product, product.public)


@pytest.mark.timeout(ENDS + 60)
def test_random_requests_to_the_private_service(product: Product, tmp_path: Path) -> None:
    fuzz(product.private, tmp_path, "-H", f"Authorization: Bearer {product.service_token}")
    assert_no_server_error(product, product.private)


def operations(client: httpx2.Client) -> Iterator[tuple[str, str, dict[str, Any]]]:
    document = client.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def body_examples(operation: dict[str, Any]) -> Iterator[tuple[str, object]]:
    """Each example of a request body with its media type."""
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        schema = content["schema"]
        for example in [*schema.get("examples", []), *(each["value"] for each in content.get("examples", {}).values())]:
            yield media_type, example


def is_for_operators(operation: dict[str, Any]) -> bool:
    return operation.get("security") == [{"accountToken": ["operator"]}]


class Owned(NamedTuple):
    """An account with a project, for the routes that need one, and a user of the default project."""

    token: dict[str, str]
    account_id: str
    names: dict[str, str]


@pytest.fixture(scope="module")
def owned(public: httpx2.Client, with_key: dict[str, str], personal_databases: PersonalDatabases) -> Owned:
    account = Account(public)
    personal_databases.rows("UPDATE account SET is_operator = true")
    project = account.project("Owned")
    [owner] = account.ask("GET", f"/{project['project_key']}/members").json()
    token = {"Authorization": f"Bearer {account.token}"}
    names = {"project_key": project["project_key"], "key_id": account.key(project)["id"], "project_id": "1"}
    user = {"username": secrets.token_hex(8), "email": f"{secrets.token_hex(8)}@example.com"}
    created = public.post("/api/v1/users", json=user, headers=with_key).raise_for_status().json()
    names |= {"user_id": created["id"], "person_id": created["id"], "device_id": DEVICE}
    hook = account.ask("POST", f"/{project['project_key']}/webhooks", {"url": "https://hooks.example.com/"}).json()
    names |= {"webhook_id": hook["id"]}
    device = {"device_id": DEVICE, "user_id": created["id"]}
    # Random requests may have made it, for another user.
    assert public.post("/api/v1/devices", json=device, headers=with_key).status_code in {201, 409}
    public.put(f"/api/v1/devices/{DEVICE}", json={"user_id": created["id"]}, headers=with_key).raise_for_status()
    return Owned(token, owner["account_id"], names)


def test_every_body_example_can_be_posted(
    public: httpx2.Client, private: httpx2.Client, with_key: dict[str, str], owned: Owned
) -> None:
    posted = set()
    own_id = secrets.token_hex(4)
    for client in (public, private):
        for method, path, operation in operations(client):
            for media_type, example in body_examples(operation):
                content = example if isinstance(example, str) else json.dumps(example)
                # Random requests may have used the ids of the examples.
                content = re.sub(r'("eventId": ?"[^"]+)"', rf'\1-{own_id}"', content)
                of_account = path.startswith(("/api/v1/projects", "/api/store"))
                credential = {} if client is private else owned.token if of_account else with_key
                headers = {"Content-Type": media_type} | credential
                account = {"account_id": owned.account_id} if path.startswith("/administration/projects") else {}
                project = {"project_id": "1"} if path.startswith("/administration/devices") else {}
                answer = client.request(
                    method, path.format(**owned.names), params=account | project, content=content, headers=headers
                )
                assert str(answer.status_code) in operation["responses"], (path, answer.text)
                # An e-mail address can be registered once, by whichever test posts the example first.
                is_repeat = answer.status_code == 409 and path.endswith(
                    (
                        "auth/register",
                        "/accounts",
                        "/users",
                        "/users/{user_id}",
                        "/user",
                        "/people/{project_id}",
                        "/people/{project_id}/{person_id}",
                        "/devices",
                    )
                )
                # No installation has the key and the store of these examples.
                is_unknown = answer.status_code in {401, 404} and path in UNKNOWN
                assert answer.is_success or is_repeat or is_unknown, (path, answer.text)
                assert answer.json().get("rejected", 0) == 0, answer.text
                posted.add((path, media_type))
    assert posted == {
        ("/api/v1/projects", "application/json"),
        ("/api/v1/projects/{project_key}", "application/json"),
        ("/api/v1/projects/{project_key}/members", "application/json"),
        ("/api/v1/projects/{project_key}/api-keys", "application/json"),
        ("/api/v1/projects/{project_key}/api-keys/{key_id}", "application/json"),
        ("/api/v1/projects/{project_key}/api-keys/{key_id}/rotate", "application/json"),
        ("/api/v1/projects/{project_key}/shares", "application/json"),
        ("/api/v1/projects/{project_key}/webhooks", "application/json"),
        ("/api/v1/projects/{project_key}/webhooks/{webhook_id}", "application/json"),
        ("/api/v1/projects/{project_key}/webhooks/{webhook_id}/rotate", "application/json"),
        ("/api/v1/projects/{project_key}/webhooks/{webhook_id}/rules", "application/json"),
        ("/administration/projects/{project_key}", "application/json"),
        ("/administration/projects/{project_key}/webhooks/{webhook_id}", "application/json"),
        ("/administration/projects/{project_key}/api-keys/{key_id}", "application/json"),
        ("/Log/auth", "application/json"),
        ("/Log/auth/batch", "application/json"),
        ("/Log/auth/batch", "application/x-ndjson"),
        ("/api/v1/track", "application/json"),
        ("/api/v1/track/batch", "application/json"),
        ("/api/v1/track/batch", "application/x-ndjson"),
        ("/api/event", "application/json"),
        ("/api/event/batch", "application/json"),
        ("/api/event/batch", "application/x-ndjson"),
        ("/api/auth", "application/json"),
        ("/administration/project-logins", "application/json"),
        ("/api/store", "application/json"),
        ("/api/store/block", "application/json"),
        ("/api/store/unblock", "application/json"),
        ("/Device/register", "application/json"),
        ("/api/v1/auth/register", "application/json"),
        ("/api/v1/auth/login", "application/json"),
        ("/administration/accounts", "application/json"),
        ("/administration/logins", "application/json"),
        ("/api/v1/users", "application/json"),
        ("/api/v1/users/{user_id}", "application/json"),
        ("/api/user", "application/json"),
        ("/administration/people/{project_id}", "application/json"),
        ("/administration/people/{project_id}/{person_id}", "application/json"),
        ("/administration/found-people/{project_id}", "application/json"),
        ("/api/v1/devices", "application/json"),
        ("/api/v1/devices/{device_id}", "application/json"),
        ("/administration/devices/{device_id}", "application/json"),
        ("/api/v1/stats/devices/{device_id}", "application/json"),
        ("/api/v1/stats/devices/{device_id}/batch", "application/json"),
        ("/api/v1/stats/devices/{device_id}/batch", "application/x-ndjson"),
        ("/api/v1/stats/devices/{device_id}/analyze", "application/json"),
        ("/api/v1/stats/users/{user_id}/analyze", "application/json"),
    }


def test_every_parameter_example_can_be_asked(public: httpx2.Client, with_key: dict[str, str], owned: Owned) -> None:
    asked = set()
    for method, path, operation in operations(public):
        given = [each for each in operation.get("parameters", []) if "example" in each]
        names, queries = (
            {each["name"]: each["example"] for each in given if each["in"] == place} for place in ("path", "query")
        )
        if given:
            headers = with_key if {"apiKey": ["read"]} in operation["security"] else owned.token
            answer = public.request(method, path.format(**owned.names | names), params=queries, headers=headers)
            assert answer.status_code == (404 if path in UNKNOWN else 200), (path, answer.text)
            asked.add(path)
    metrics = {f"/api/v1/projects/{{project_key}}/metrics{each}" for each in METRICS}
    devices = {"/api/v1/devices", "/api/v1/stats/devices/{device_id}", "/api/v1/stats/devices/{device_id}/series"}
    stores = {f"/api/event/{each}" for each in ("amount/{type}", "avg-time/{type}", "types", "users")} | {"/api/store"}
    unknown = {each for each in UNKNOWN if "{" in each}
    family_1 = {f"/Log/auth/{each}" for each in ("statistics", "timeseries", "users")}
    deliveries = {"/api/v1/projects/{project_key}/webhooks/{webhook_id}/deliveries"}
    assert asked == metrics | devices | stores | unknown | family_1 | deliveries


@pytest.mark.parametrize("name", ["public", "private"])
def test_every_operation_says_what_it_is_for_and_what_it_answers(name: str, request: pytest.FixtureRequest) -> None:
    for method, path, operation in operations(request.getfixturevalue(name)):
        assert operation["summary"], (method, path)
        [success] = [each for status, each in operation["responses"].items() if status in ("200", "201", "204")]
        has_body = "204" not in operation["responses"]
        assert not has_body or success["content"]["application/json"]["schema"], (method, path)
        assert "422" in operation["responses"], (method, path)  # an unknown query parameter, if nothing else


def test_the_private_document_asks_for_the_token_wherever_the_service_does(private: httpx2.Client) -> None:
    for _, path, operation in operations(private):
        needs_token = path.startswith(("/Device/", "/events/", "/administration/"))
        assert operation.get("security") == ([{"serviceToken": []}] if needs_token else None)
        assert ("401" in operation["responses"]) == needs_token


def test_the_public_document_offers_an_api_key_with_its_scope_wherever_one_is_read(public: httpx2.Client) -> None:
    schemes = public.get("/openapi.json").json()["components"]["securitySchemes"]
    assert schemes["apiKey"]["name"] == "X-API-Key"
    for method, path, operation in operations(public):
        of_managers = path.startswith("/api/v1/projects/") and ("/webhooks" in path or "/shares" in path)
        manages = method == "DELETE" or path.endswith(MANAGED) or of_managers
        # People are looked up with it, too.
        manages |= method == "GET" and path.startswith(("/api/v1/users", "/api/user"))
        reads = method == "GET" or path.endswith("/analyze")  # a question whose body is a period
        scope = "manage" if manages else "read" if reads else "ingest"
        keys: list[dict[str, list[str]]] = [{"apiKey": [scope]}, {"bearerKey": [scope]}, {"projectToken": [scope]}]
        expected = [{}, *keys] if path.startswith("/Log/") else keys if path.startswith("/api/") else None
        if "/metrics" in path:
            expected = [*keys, {"accountToken": []}]
        if path in SHARED:
            expected = [*(expected or []), {"shareToken": []}]
        if path.startswith("/api/v1/auth/") or path == "/api/v1/users/me":
            expected = [{"accountToken": []}] if path.endswith("/me") else None
        if path.startswith("/api/v1/projects") and "/metrics" not in path:
            expected = [*(keys if of_managers else []), {"accountToken": []}]
        if path == "/api/auth":
            expected = None
        if path == "/api/v1/shared":
            expected = [{"shareToken": []}]
        if path.startswith("/api/store") or "store-events-amount" in path:
            expected = [{"accountToken": ["operator"]}]
        assert operation.get("security") == expected, (method, path)
        assert all(name in schemes for way in expected or () for name in way)
        assert operation["responses"].keys() >= {"401", "403"} or expected is None
        assert is_for_operators(operation) == (path.startswith("/api/store") or "store-events-amount" in path)


def test_the_examples_are_the_documents_own_words(public: httpx2.Client) -> None:
    document = public.get("/openapi.json").json()
    body = document["paths"]["/Log/auth"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["examples"] == [event("user-123")]
