"""With a key, family 1 records to and reads from the key's project, and without one the default project."""

import re
import subprocess

import httpx2
import pytest

from tests.access.conftest import key_id, make_key, make_project
from tests.auth_events.payloads import event
from tests.database import assert_counts_are_exact
from tests.servers import Cluster, Product

STATISTICS = "/Log/auth/statistics"
SERIES = "/Log/auth/timeseries"


def total(public: httpx2.Client, headers: dict[str, str] | None = None) -> int:
    return int(public.get(STATISTICS, headers=headers).raise_for_status().json()["total"])


def series_sum(public: httpx2.Client, headers: dict[str, str] | None = None) -> int:
    answer = public.get(SERIES, headers=headers).raise_for_status().json()
    return sum(point["count"] for each in answer["series"] for point in each["points"])


@pytest.mark.parametrize("header", ["X-API-Key: {}", "Authorization: Bearer {}", "authorization: bearer  {}"])
@pytest.mark.parametrize("more", [{}, {"Connection": "close"}], ids=["kept", "closed"])
def test_each_project_sees_its_own_events_alone(
    product: Product, public: httpx2.Client, header: str, more: dict[str, str]
) -> None:
    """Alone and in a batch, whichever way the service takes; the other project and the default one see nothing."""
    name, _, form = header.partition(": ")
    own, other = ({name: form.format(make_key(product, make_project(product))), **more} for _ in range(2))
    default_before, series_before = total(public, more), series_sum(public, more)

    public.post("/Log/auth", json=event("u"), headers=own).raise_for_status()
    batch = public.post("/Log/auth/batch", json=[event("u"), event("v", "TV")], headers=own)
    assert batch.json()["registered"] == 2

    assert (total(public, own), series_sum(public, own)) == (3, 3)
    assert (total(public, other), series_sum(public, other)) == (0, 0)
    assert (total(public, more), series_sum(public, more)) == (default_before, series_before)

    public.post("/Log/auth", json=event("u"), headers=more).raise_for_status()
    assert (total(public, own), total(public, other), total(public, more)) == (3, 0, default_before + 1)


def test_the_counts_of_several_projects_equal_their_facts(product: Product, public: httpx2.Client, key: str) -> None:
    for headers in ({}, {"X-API-Key": key}):
        public.post("/Log/auth", json=event("u"), headers=headers).raise_for_status()
    assert_counts_are_exact(product)


def test_an_idempotency_key_belongs_to_its_project(product: Product, public: httpx2.Client, key: str) -> None:
    other = make_key(product, make_project(product))
    for api_key in (key, other, None):
        sent = {"Idempotency-Key": "the same"} | ({} if api_key is None else {"X-API-Key": api_key})
        first, second = (public.post("/Log/auth", json=event("u"), headers=sent) for _ in range(2))
        assert "idempotent-replayed" not in first.headers
        assert second.headers["idempotent-replayed"] == "true"


def test_the_same_counts_of_two_projects_have_two_tags(product: Product, public: httpx2.Client) -> None:
    first, second = (
        public.get(STATISTICS, headers={"X-API-Key": make_key(product, make_project(product))}) for _ in range(2)
    )
    assert first.content == second.content
    assert first.headers["etag"] != second.headers["etag"]
    assert "X-API-Key" in first.headers["vary"]
    again = public.get(STATISTICS, headers={"If-None-Match": first.headers["etag"]} | dict(second.request.headers))
    assert again.status_code == 200


def test_a_tag_of_the_own_project_is_understood(public: httpx2.Client, key: str) -> None:
    tag = public.get(STATISTICS, headers={"X-API-Key": key}).headers["etag"]
    assert public.get(STATISTICS, headers={"X-API-Key": key, "If-None-Match": tag}).status_code == 304


def test_both_headers_may_carry_the_same_key(public: httpx2.Client, key: str) -> None:
    assert public.get(STATISTICS, headers={"X-API-Key": key, "Authorization": f"Bearer {key}"}).status_code == 200


def test_the_secret_of_a_key_is_nowhere(cluster: Cluster, product: Product, public: httpx2.Client, key: str) -> None:
    """Not in any row of the database, and not in a log of either service."""
    public.post("/Log/auth", json=event("u"), headers={"X-API-Key": key}).raise_for_status()
    public.get(STATISTICS, headers={"X-API-Key": key[:-1] + "-"})
    secret = key.rpartition("_")[2]
    dumped = subprocess.run(
        [cluster.binaries / "pg_dump", product.database.admin_url], capture_output=True, text=True, check=True
    )
    stored = dumped.stdout
    logs = "".join(each.log.read_text() for each in (*product.publics, *product.privates) if each.log is not None)
    assert key_id(key) in stored
    assert re.search(r"/Log/auth", logs)
    for piece in (key, secret, secret[:20], secret[-20:]):
        assert piece not in stored
        assert piece not in logs
