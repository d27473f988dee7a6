"""API requests in the database: cells, endpoints, maintenance and the check of the counts."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime

import httpx2
import psycopg2
import pytest

from contract.api_requests.latency import LATENCY_BOUNDS
from device_registration_api.api_requests.endpoints import ENDPOINTS_MAX
from tests.database import assert_counts_are_exact, command, rows
from tests.kinds.client import KindClient
from tests.kinds.envelopes import forward_of
from tests.kinds.served_kinds import API_REQUESTS, WITH_SAMPLE
from tests.maintenance.rounds import verify
from tests.servers import Product, StartProduct

NUMBERED = "SELECT endpoint_id, method, url_path FROM api_endpoint WHERE project_id = {} ORDER BY 1"


@pytest.fixture(scope="module")
def product(start_product: StartProduct) -> Iterator[Product]:
    """Two processes of each service, which remember endpoints apart. After the tests, every count is exact."""
    product = start_product(publics=2, privates=2, programs=WITH_SAMPLE)
    yield product
    assert_counts_are_exact(product)


@pytest.fixture
def client(product: Product) -> Iterator[KindClient]:
    with KindClient(product, API_REQUESTS) as client:
        yield client


def forward(client: KindClient, paths: Sequence[str], project_id: int, instance: int = 0, **columns: list[str]) -> None:
    """Requests for these paths, to one private process."""
    envelope = forward_of(API_REQUESTS, [f"p{project_id}"] * len(paths))
    envelope["project_ids"] = [project_id] * len(paths)
    envelope["columns"] |= {"url_paths": list(paths)} | columns
    answer = client.forward(envelope, instance=instance)
    assert (answer["recorded"], answer["exceptions"]) == (len(paths), [])


def test_the_database_has_the_same_cells(product: Product) -> None:
    assert rows(product.database, "SELECT latency_bounds()") == [(list(LATENCY_BOUNDS),)]


def test_endpoints_are_numbered_once_whoever_meets_them_first(client: KindClient, product: Product) -> None:
    paths = [f"/p/{number}" for number in range(40)]
    with ThreadPoolExecutor(4) as pool:
        sent = [pool.submit(forward, client, paths[at:] + paths[:at], 11, at % 2) for at in range(0, 40, 5)]
        for each in sent:
            each.result()
    forward(client, ["/p/0"], 12)
    forward(client, ["/p/0"], 12, methods=["POST"])
    found = rows(product.database, NUMBERED.format(11))
    assert [number for number, _, _ in found] == list(range(1, 41))
    assert sorted(path for _, _, path in found) == sorted(paths)
    assert rows(product.database, NUMBERED.format(12)) == [(1, "GET", "/p/0"), (2, "POST", "/p/0")]
    unlike = """
        SELECT count(*)::int FROM api_request LEFT JOIN api_endpoint USING (project_id, endpoint_id, method, url_path)
         WHERE project_id IN (11, 12) AND api_endpoint.endpoint_id IS NULL
    """
    assert rows(product.database, unlike) == [(0,)]


def test_past_the_last_number_the_rest_is_one_endpoint(client: KindClient, product: Product) -> None:
    paths = [f"/many/{number}" for number in range(ENDPOINTS_MAX + 50)]
    forward(client, paths[:600], 13)
    forward(client, paths[600:], 13, instance=1)
    forward(client, [paths[0], paths[-1], "/another"], 13)
    assert len(rows(product.database, NUMBERED.format(13))) == ENDPOINTS_MAX
    counted = "SELECT sum(event_count)::int FROM api_request_endpoint_day WHERE project_id = 13 AND endpoint_id = 0"
    assert rows(product.database, counted) == [(52,)]
    others = "SELECT url_path FROM api_request WHERE project_id = 13 AND endpoint_id = 0 ORDER BY 1 LIMIT 1"
    assert rows(product.database, others) == [("/another",)]


def test_a_project_whose_endpoints_cannot_be_assigned_stores_nothing(client: KindClient, product: Product) -> None:
    rows(product.database, "REVOKE INSERT ON api_endpoint FROM registration_writer")
    try:
        answer = client.send(client.event("unassigned") | {"url_path": "/never-seen"})
    finally:
        rows(product.database, "GRANT INSERT ON api_endpoint TO registration_writer")
    assert (answer.status_code, answer.json()["code"]) == (503, "not-recorded")
    assert client.facts_of("unassigned") == 0
    assert client.send(client.event("assigned") | {"url_path": "/never-seen"}).status_code == httpx2.codes.CREATED


def test_weeks_are_moved_and_retired_with_their_extremes(client: KindClient, product: Product) -> None:
    late, old = datetime(2031, 4, 1, tzinfo=UTC), datetime(2024, 1, 10, tzinfo=UTC)
    rows(product.database, "SELECT maintenance.create_partition('api_request', '2024-01-08')")
    for moment in (old, late):
        envelope = forward_of(API_REQUESTS, ["x", "y", "z"], received_at=moment)
        envelope["columns"] |= {"response_us": [1_500, 50_500, 100_500], "status_codes": [200, 404, 500]}
        client.forward(envelope)
    said = command(product, "maintain")
    assert "retention of api_request: week 2024-01-08 dropped, its 3 facts stay counted" in said
    assert "the default partition was hit; its 3 rows" in said
    retired = """
        SELECT min(response_us_min)::int, max(response_us_max)::int, sum(response_us_sum)::int,
               sum(client_error_sum)::int, sum(server_error_sum)::int
          FROM api_request_retired
    """
    assert rows(product.database, retired) == [(1_500, 100_500, 152_500, 1, 1)]
    assert_counts_are_exact(product)


def test_the_public_login_reads_raw_rows_newest_first_by_an_index(client: KindClient, product: Product) -> None:
    forward(client, ["/first"], 14)
    forward(client, ["/second", "/third"], 14)
    newest = """
        SELECT url_path, ip_hash FROM stats.api_request
         WHERE project_id = 14 AND occurred_at < 'infinity' AND received_at > now() - interval '1 day'
         ORDER BY occurred_at DESC, event_id DESC LIMIT 2
    """
    reader = product.database.reader_env
    with (
        closing(
            psycopg2.connect(product.database.admin_url, user=reader["DB_USER"], password=reader["DB_PASSWORD"])
        ) as conn,
        conn.cursor() as cursor,
    ):
        cursor.execute(newest)
        assert cursor.fetchall() == [("/third", None), ("/second", None)]
    plan = rows(product.database, f"SET enable_seqscan = off; EXPLAIN {newest}")
    assert any("Index Scan Backward using" in line and "_occurred_at_idx" in line for (line,) in plan)


@pytest.mark.parametrize(
    ("table", "label"),
    [
        ("api_request_day", "days"),
        ("api_request_quarter_hour", "quarter hours"),
        ("api_request_endpoint_day", "endpoints' days"),
        ("api_request_endpoint_quarter_hour", "endpoints' quarter hours"),
    ],
)
@pytest.mark.parametrize("change", ["response_us_min = response_us_min - 1", "response_us_max = response_us_max + 1"])
def test_an_extreme_that_no_fact_has_is_found(
    client: KindClient, product: Product, table: str, label: str, change: str
) -> None:
    client.send(client.event("extreme"))
    measure = change.partition(" ")[0]
    rows(product.database, f"UPDATE {table} SET {change}")  # noqa: S608 - names of ours
    drifts = verify(product.database).drifts
    back = change.replace("+", "*").replace("-", "+").replace("*", "-")
    rows(product.database, f"UPDATE {table} SET {back}")  # noqa: S608 - names of ours
    assert any(f", {measure}: {label} " in each for each in drifts)
    assert verify(product.database).drifts == []
