"""A repeat is answered directly, as by the long way to the byte; whoever may not ask is refused as by the long way."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.access import new_key
from statistics_api.access.key_cache import KEPT_SECONDS
from tests.access.conftest import key_id, make_key, make_project
from tests.accounts.conftest import bearer
from tests.api_requests.payloads import request
from tests.database import command, rows
from tests.polling.conftest import Polled, directly, is_direct
from tests.projects.conftest import Account, created
from tests.servers import Product, StartProduct

# Far less than a key is remembered for, and enough for a busy machine.
AT_ONCE_SECONDS = KEPT_SECONDS / 3
OF_PROJECT = ["", "/summary", "/endpoints", "/distribution", "/time-series"]
# What other credentials may ask, too, of their own projects.
OF_CREDENTIAL = ["/Log/auth/users", "/api/event/users", "/api/event/amount/purchase", "/api/event/avg-time/purchase"]
RANGE = "start_date=2026-11-01T00:00:00Z&end_date=2026-11-02T00:00:00%2B01:00"
QUERIES = {
    "": ["", RANGE, "page=1&page_size=2", "page_size=2&format=csv"],
    "/summary": ["", RANGE, "exact=true", "exact=false&format=json"],
    "/endpoints": ["", RANGE],
    "/distribution": ["", RANGE, "format=csv"],
    "/time-series": ["", "granularity=hour", f"granularity=day&timezone=Asia/Tokyo&{RANGE}"],
    "/Log/auth/users": ["", "from=2026-11-01&to=2026-11-30", "deviceType=iOS"],
    "/api/event/users": ["", "type=purchase"],
    "/api/event/amount/purchase": ["", "offset=0&limit=2"],
    "/api/event/avg-time/purchase": [""],
}
ASKED = [(path, query) for path, queries in QUERIES.items() for query in queries]
_ACCEPTS = st.sampled_from([None, "*/*", "text/csv", "application/json, text/csv;q=0.5"])
_TAGS = st.sampled_from([None, "current", "weak", "listed", '"other"', "*"])
_DIFFERS = {"date", "x-request-id"}


def path_of(polled: Polled, path: str, query: str, end: str = "") -> str:
    whole = polled.metrics(path) if path in OF_PROJECT else path
    return f"{whole}{end}?{query}" if query else whole + end


def alike(answer: httpx2.Response) -> tuple[object, ...]:
    kept = sorted((name, value) for name, value in answer.headers.items() if name not in _DIFFERS)
    return answer.status_code, kept, answer.content


def within_a_minute(ask: Callable[[], tuple[object, object]]) -> tuple[object, object]:
    """Ask again if the minute has changed meanwhile: it is a part of some figures."""
    while True:
        begun = time.time() // 60
        found = ask()
        if begun == time.time() // 60:
            return found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=st.sampled_from(ASKED), accept=_ACCEPTS, tag=_TAGS, who=st.sampled_from(["key", "token", "account"]))
def test_both_ways_answer_the_same(
    public: httpx2.Client,
    polled: Polled,
    credentials: dict[str, dict[str, str]],
    asked: tuple[str, str],
    accept: str | None,
    tag: str | None,
    who: str,
) -> None:
    path, query = asked
    headers = credentials["key" if path in OF_CREDENTIAL and who == "account" else who]
    headers = headers | ({} if accept is None else {"Accept": accept})
    long = path_of(polled, path, query, "/")
    etag = public.get(long, headers=headers).headers["etag"]
    sent = {"current": etag, "weak": f"W/{etag}", "listed": f'"a", {etag}'}.get(tag or "", tag)
    headers |= {} if sent is None else {"If-None-Match": sent}

    def ask() -> tuple[object, object]:
        found, expected = directly(public, path_of(polled, path, query), headers), public.get(long, headers=headers)
        assert not is_direct(expected)
        assert (
            tag not in ("current", "weak", "listed", "*")
            or expected.headers["etag"] != etag
            or (found.status_code == 304)
        )
        return alike(found), alike(expected)

    found, expected = within_a_minute(ask)
    assert found == expected


@pytest.fixture(scope="module")
def credentials(polled: Polled) -> dict[str, dict[str, str]]:
    """The headers of all who may read."""
    return polled.credentials


def test_whoever_may_not_ask_is_refused_as_by_the_long_way(
    product: Product, public: httpx2.Client, polled: Polled, foreign_key: str
) -> None:
    revoked, expired, ingests = (
        make_key(product, polled.project_key),
        make_key(product, polled.project_key),
        make_key(product, polled.project_key, "ingest"),
    )
    command(product, "revoke-key", polled.project_key, key_id(revoked))
    rows(
        product.database,
        "UPDATE api_key SET expires_at = now() - interval '1 second' WHERE key_id = %(id)s",
        {"id": key_id(expired)},
    )
    own = {"X-API-Key": polled.key}
    refused: list[tuple[dict[str, str], int]] = [
        ({}, 401),
        ({"X-API-Key": new_key().text}, 401),
        ({"X-API-Key": revoked}, 401),
        ({"X-API-Key": expired}, 401),
        ({"X-API-Key": polled.key[:-1]}, 401),
        (own | bearer(foreign_key), 401),
        ({"Authorization": f"Basic {polled.key}"}, 401),
        (bearer("a.b.c"), 401),
        ({"X-API-Key": ingests}, 403),
    ]
    of_others: list[tuple[dict[str, str], int]] = [
        ({"X-API-Key": foreign_key}, 404),
        (bearer(Account(public).token), 404),
    ]
    for path in (*OF_PROJECT, *OF_CREDENTIAL):
        whole, long = path_of(polled, path, ""), path_of(polled, path, "", "/")
        cases = [*refused, *(of_others if path in OF_PROJECT else [])]
        for headers, status in cases if path != "/Log/auth/users" else cases[1:]:
            directly(public, whole, own)
            found = [public.get(each, headers=headers) for each in (whole, whole, long)]
            assert {each.status_code for each in found} == {status}, (path, headers)
            assert alike(found[0]) == alike(found[1]) == alike(found[2])
            assert not any(map(is_direct, found))
        directly(public, whole, own)
        for query in ("unknown=1", "offset=x&offset=1"):
            found = [public.get(f"{each}?{query}", headers=own) for each in (whole, whole, long)]
            assert {each.status_code for each in found} == {422}
            assert alike(found[0]) == alike(found[1]) == alike(found[2])


def test_equal_targets_of_two_projects_are_two_questions(
    public: httpx2.Client, polled: Polled, foreign_key: str
) -> None:
    for path in OF_CREDENTIAL:
        own, foreign = (directly(public, path, {"X-API-Key": each}) for each in (polled.key, foreign_key))
        assert own.content != foreign.content
        assert own.content == public.get(f"{path}/", headers={"X-API-Key": polled.key}).content


@pytest.mark.parametrize("way", ["HEAD", "Origin", "Accept twice", "encoded"])
def test_what_is_not_the_same_request_takes_the_long_way(public: httpx2.Client, polled: Polled, way: str) -> None:
    path, sent = polled.metrics("/summary"), [("X-API-Key", polled.key)]
    directly(public, path, dict(sent))
    match way:
        case "HEAD":
            answer = public.head(path, headers=sent)
        case "Origin":
            answer = public.get(path, headers=[*sent, ("Origin", "https://page.example")])
        case "Accept twice":
            answer = public.get(path, headers=[*sent, ("Accept", "text/csv"), ("Accept", "text/csv")])
        case _:
            answer = public.get(path.replace("summary", "%73ummary"), headers=sent)
    assert answer.status_code == 200
    assert not is_direct(answer)
    assert answer.headers["content-type"].startswith("text/csv" if way == "Accept twice" else "application/json")


def test_an_acknowledged_event_is_in_the_next_answer_of_every_poller(product: Product, public: httpx2.Client) -> None:
    key = make_key(product, project := make_project(product))
    path, sent = f"/api/v1/projects/{project}/metrics/summary", {"X-API-Key": key}
    ends = datetime.now(UTC) + timedelta(seconds=20)
    recorded = direct = 0

    def poll() -> int:
        found = 0
        with httpx2.Client(base_url=product.public_url, trust_env=False, headers=sent) as client:
            while recorded < 30 and datetime.now(UTC) < ends:
                before = recorded
                counted = client.get(path).raise_for_status().json()["request_count"]
                assert before <= counted <= recorded + 1
                found += 1
        return found

    with ThreadPoolExecutor(4) as threads:
        polls = [threads.submit(poll) for _ in range(4)]
        for _ in range(30):
            created(public.post("/api/v1/track", json=request(), headers=sent))
            recorded += 1
            answer = public.get(path, headers=sent)
            direct += is_direct(answer)
            assert answer.json()["request_count"] == recorded
        assert sum(each.result() for each in polls) > 0
    assert direct > 20


def test_a_repeat_is_logged_and_counted_as_a_use_of_the_key(
    product: Product, public: httpx2.Client, polled: Polled
) -> None:
    answer = directly(public, polled.metrics("/summary"), {"X-API-Key": polled.key, "X-Request-ID": "a-repeat"})
    assert answer.headers["x-request-id"] == "a-repeat"
    log = product.public.log
    assert log is not None
    ends = time.monotonic() + AT_ONCE_SECONDS
    while b'"request_id":"a-repeat"' not in log.read_bytes():
        assert time.monotonic() < ends
    [line, *_] = [each for each in log.read_text().splitlines() if '"request_id":"a-repeat"' in each]
    assert f'"method":"GET","path":"{polled.metrics("/summary")}","status":200' in line


@pytest.mark.parametrize("how", ["revoked", "project inactive", "member removed"])
def test_what_ends_a_credential_ends_its_repeats(product: Product, public: httpx2.Client, how: str) -> None:
    account, other = Account(public), Account(public)
    project = account.project()["project_key"]
    member = created(account.ask("POST", f"/{project}/members", {"email": other.email}))
    key = make_key(product, project)
    path = f"/api/v1/projects/{project}/metrics/summary"
    headers = bearer(other.token) if how == "member removed" else {"X-API-Key": key}
    directly(public, path, headers)
    match how:
        case "revoked":
            command(product, "revoke-key", project, key_id(key))
        case "project inactive":
            assert account.ask("PATCH", f"/{project}", {"is_active": False}).is_success
        case _:
            assert account.ask("DELETE", f"/{project}/members/{member['account_id']}").is_success
    expected = 404 if how == "member removed" else 401
    ends = time.monotonic() + AT_ONCE_SECONDS
    while public.get(path, headers=headers).status_code != expected:
        assert time.monotonic() < ends
    assert public.get(path, headers=headers).status_code == expected


def test_a_rate_limit_counts_repeats(start_product: StartProduct) -> None:
    product = start_product(env={"RATE_LIMIT": "6/hour"})
    with httpx2.Client(base_url=product.public_url, trust_env=False) as client:
        answers = [client.get("/Log/auth/users") for _ in range(8)]
    assert [each.status_code for each in answers] == [200] * 6 + [429] * 2
    assert any(map(is_direct, answers))
    assert [each.headers["ratelimit-remaining"] for each in answers[:6]] == ["5", "4", "3", "2", "1", "0"]
