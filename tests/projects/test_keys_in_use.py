"""Keys in running services: what ends one ends it at once in every process, and its use and its limit are counted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from statistics_api.access.key_cache import KEPT_SECONDS
from tests.database import command, rows
from tests.projects.conftest import Account, created, refused
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.personal_databases import PersonalDatabases
    from tests.servers import Product, StartProduct

STATISTICS = "/Log/auth/statistics"
# Far less than a key is remembered for, and enough for a busy machine.
AT_ONCE_SECONDS = KEPT_SECONDS / 3
NAMES = ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset")


@pytest.fixture(scope="module")
def product(start_product: StartProduct, personal_databases: PersonalDatabases) -> Product:
    """Two public services, each of which remembers keys."""
    return start_product(publics=2, env=personal_databases.environment)


@pytest.fixture(scope="module")
def clients(product: Product) -> Iterator[list[httpx2.Client]]:
    """One for each public service."""
    opened = [httpx2.Client(base_url=each.url, timeout=20, trust_env=False) for each in product.publics]
    yield opened
    for each in opened:
        each.close()


def statuses(clients: list[httpx2.Client], key: str) -> list[int]:
    return [each.get(STATISTICS, headers={"X-API-Key": key}).status_code for each in clients]


def wait_until_refused(clients: list[httpx2.Client], key: str) -> None:
    wait_until(lambda: statuses(clients, key) == [401] * len(clients), AT_ONCE_SECONDS)


def end_key(owner: Account, product: Product, project: dict[str, Any], key: dict[str, Any], how: str) -> None:
    path = f"/{project['project_key']}"
    match how:
        case "revoked":
            answer = owner.ask("PATCH", f"{path}/api-keys/{key['id']}", {"is_active": False})
        case "deleted":
            answer = owner.ask("DELETE", f"{path}/api-keys/{key['id']}")
        case "rotated":
            answer = owner.ask("POST", f"{path}/api-keys/{key['id']}/rotate", {"overlap_seconds": 0})
        case "project inactive":
            answer = owner.ask("PATCH", path, {"is_active": False})
        case "project deleted":
            answer = owner.ask("DELETE", path)
        case _:
            command(product, "revoke-key", project["project_key"], key["id"])
            return
    assert answer.is_success, answer.text


@pytest.mark.parametrize(
    "how", ["revoked", "deleted", "rotated", "project inactive", "project deleted", "revoked by command"]
)
def test_every_process_refuses_a_key_at_once(
    product: Product, clients: list[httpx2.Client], owner: Account, how: str
) -> None:
    project = owner.project(how)
    key, other = owner.key(project), owner.key(owner.project(f"not {how}"))
    for each in (key, other):
        assert statuses(clients, each["key"]) == [200, 200]
    end_key(owner, product, project, key, how)
    wait_until_refused(clients, key["key"])
    assert statuses(clients, other["key"]) == [200, 200]


def test_every_process_forgets_a_member_at_once(
    product: Product, clients: list[httpx2.Client], owner: Account, member: Account
) -> None:
    path = f"/{owner.project('Members')['project_key']}"
    joined = created(owner.ask("POST", f"{path}/members", {"email": member.email}))

    def figures() -> list[int]:
        token = {"Authorization": f"Bearer {member.token}"}
        return [each.get(f"/api/v1/projects{path}/metrics/summary", headers=token).status_code for each in clients]

    assert figures() == [200, 200]
    assert owner.ask("DELETE", f"{path}/members/{joined['account_id']}").status_code == 204
    begun = time.monotonic()
    while figures() != [404, 404]:
        assert time.monotonic() < begun + AT_ONCE_SECONDS
        time.sleep(0.05)
    assert rows(
        product.database, "SELECT count(*) FROM project_member WHERE account_id = %(a)s", {"a": joined["account_id"]}
    ) == [(0,)]


def test_a_lost_connection_that_listens_is_made_again(
    product: Product, clients: list[httpx2.Client], owner: Account
) -> None:
    sessions = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN %%'"
    before = rows(product.database, sessions)
    assert len(before) == 2
    rows(product.database, f"SELECT pg_terminate_backend(pid) FROM ({sessions}) AS listening")  # noqa: S608 - ours
    begun = time.monotonic()
    while len(after := rows(product.database, sessions)) != 2 or set(after) & set(before):
        assert time.monotonic() < begun + 20
        time.sleep(0.1)
    project = owner.project("Listening")
    key = owner.key(project)
    assert statuses(clients, key["key"]) == [200, 200]
    end_key(owner, product, project, key, "revoked")
    wait_until_refused(clients, key["key"])


def test_the_requests_of_both_processes_are_added_up(
    product: Product, clients: list[httpx2.Client], owner: Account
) -> None:
    project = owner.project("Used")
    path = f"/{project['project_key']}/api-keys"
    used, unused, recording = owner.key(project), owner.key(project), owner.key(project, scopes=["ingest"])
    for client in clients:
        for _ in range(3):
            assert client.get(STATISTICS, headers={"X-API-Key": used["key"]}).status_code == 200
    event = {"userKey": "u", "deviceType": "iOS"}
    assert clients[0].post("/Log/auth", json=event, headers={"X-API-Key": recording["key"]}).status_code == 200
    assert clients[0].get(STATISTICS, headers={"X-API-Key": recording["key"]}).status_code == 403
    wrong = used["key"][:-1] + ("0" if used["key"][-1] != "0" else "1")
    assert clients[0].get(STATISTICS, headers={"X-API-Key": wrong}).status_code == 401

    for service in product.publics:  # the last report is made at the end
        service.stop()
        service.start()
    for service in product.publics:
        service.wait_ready()
    listed = {each["id"]: each for each in owner.ask("GET", path).json()}
    assert [listed[each["id"]]["total_requests"] for each in (used, unused, recording)] == [6, 0, 2]
    assert listed[used["id"]]["last_used_at"] > used["created_at"]
    assert listed[unused["id"]]["last_used_at"] is None


def test_a_key_has_a_limit_of_its_own(clients: list[httpx2.Client], owner: Account) -> None:
    project = owner.project("Limited")
    path = f"/{project['project_key']}/api-keys"
    limited, free = owner.key(project, rate_limit="3/hour"), owner.key(project)
    client = clients[0]
    answers = [client.get(STATISTICS, headers={"X-API-Key": limited["key"]}) for _ in range(4)]
    assert [each.status_code for each in answers] == [200, 200, 200, 429]
    assert [each.headers["ratelimit-remaining"] for each in answers] == ["2", "1", "0", "0"]
    assert {each.headers["ratelimit-limit"] for each in answers} == {"3"}
    assert 3_500 < int(answers[3].headers["retry-after"]) <= 3_600
    assert answers[3].json()["code"] == "too-many-requests"
    for name in NAMES:
        assert len(answers[0].headers.get_list(name)) == len(answers[3].headers.get_list(name)) == 1
        assert name not in client.get(STATISTICS, headers={"X-API-Key": free["key"]}).headers
        assert name not in client.get(STATISTICS).headers
    # Every route counts, and each process by itself without a store that they share.
    event = {"userKey": "u", "deviceType": "iOS"}
    assert client.post("/Log/auth", json=event, headers={"X-API-Key": limited["key"]}).status_code == 429
    assert statuses(clients, limited["key"]) == [429, 200]

    assert owner.ask("PATCH", f"{path}/{limited['id']}", {"rate_limit": None}).json()["rate_limit"] is None
    begun = time.monotonic()
    while statuses(clients, limited["key"]) != [200, 200]:
        assert time.monotonic() < begun + AT_ONCE_SECONDS
        time.sleep(0.05)
    refused(owner.ask("PATCH", f"{path}/{limited['id']}", {"rate_limit": "a lot"}), 422)
    assert created(owner.ask("POST", path, {"name": "k", "rate_limit": "9999999/day"}))["rate_limit"] == "9999999/day"


def test_a_key_that_is_over_its_limit_takes_nothing_from_its_address(
    start_product: StartProduct, personal_databases: PersonalDatabases
) -> None:
    product = start_product(env=personal_databases.environment | {"RATE_LIMIT": "100/hour"})
    with httpx2.Client(base_url=product.public_url, timeout=20, trust_env=False) as client:
        owner = Account(client)
        limited = owner.key(owner.project("Limited"), rate_limit="2/hour")
        answers = [client.get(STATISTICS, headers={"X-API-Key": limited["key"]}) for _ in range(5)]
        assert [each.status_code for each in answers] == [200, 200, 429, 429, 429]
        assert {each.headers["ratelimit-limit"] for each in answers} == {"2"}
        # Two requests for the account, two for its project and key, two with the key, and this one.
        answer = client.get(STATISTICS)
        assert answer.headers["ratelimit-limit"] == "100"
        assert answer.headers["ratelimit-remaining"] == "93"
        # A key that is refused is an address without a key.
        wrong = client.get(STATISTICS, headers={"X-API-Key": "x"})
        assert (wrong.status_code, wrong.headers["ratelimit-remaining"]) == (401, "92")
