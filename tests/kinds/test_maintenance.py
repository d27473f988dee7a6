"""Facts of every kind leave and their counts stay; what is counted wrong is found; a busy table stops no other."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, timedelta

import psycopg2
import pytest

from device_registration_api.followers import FOLLOWERS
from tests.citus_nodes import forget_commits
from tests.database import assert_counts_are_exact, command, rows
from tests.kinds.client import KindClient
from tests.kinds.envelopes import forward_of
from tests.kinds.served_kinds import KINDS, WITH_SAMPLE
from tests.maintenance.rounds import verify
from tests.servers import Product, StartProduct, finished_command

OLD_WEEK = date(2024, 1, 8)
OLD = datetime(2024, 1, 10, tzinfo=UTC)


@pytest.fixture(scope="module")
def product(start_product: StartProduct) -> Iterator[Product]:
    """One process of each service. After the tests, every count is exact."""
    product = start_product(programs=WITH_SAMPLE)
    yield product
    assert_counts_are_exact(product)


def new_week(client: KindClient, week: date = OLD_WEEK) -> None:
    client.rows("SELECT maintenance.create_partition(%(fact)s, %(week)s)", fact=client.kind.fact, week=week)


def record_at(client: KindClient, moment: datetime, events: int, group: int = 0) -> None:
    """Events that were received then, and have arrived on every node."""
    identities = [f"{moment:%Y%m%d}-{number}" for number in range(events)]
    envelope = forward_of(client.kind, identities, group, received_at=moment)
    assert "refused" not in str(client.forward(envelope)["exceptions"])
    forget_commits(client.product.database.admin_url)


def partitions(client: KindClient) -> set[str]:
    found = client.rows("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = to_regclass(%(fact)s)",
                        fact=client.kind.fact)  # fmt: skip
    return {name for (name,) in found}


def retired(client: KindClient) -> dict[str, int]:
    return dict(client.rows("SELECT {group}::text, sum(event_count)::int FROM {fact_retired} GROUP BY 1"))


def test_a_retired_week_moves_its_sums_and_no_published_figure(client: KindClient, product: Product) -> None:
    new_week(client)
    first, second, *_ = client.kind.groups
    record_at(client, OLD, 3, 0)
    record_at(client, OLD + timedelta(days=1), 2, 1)
    record_at(client, datetime.now(UTC), 4, 1)
    published, before = client.published(), retired(client)
    assert f"{client.kind.fact}_20240108" in partitions(client)

    said = command(product, "maintain")

    assert f"retention of {client.kind.fact}: week 2024-01-08 dropped, its 5 facts stay counted" in said
    assert f"{client.kind.fact}_20240108" not in partitions(client)
    assert client.rows("SELECT count(*)::int FROM {fact} WHERE received_at < '2025-01-01Z'") == [(0,)]
    grown = {group: count - before.get(group, 0) for group, count in retired(client).items()}
    assert grown == {first: 3, second: 2}
    assert client.published() == published
    assert_counts_are_exact(product)


def test_events_of_a_week_without_a_partition_get_one_and_an_alarm(client: KindClient, product: Product) -> None:
    record_at(client, datetime(2031, 4, 1, tzinfo=UTC), 2)
    assert client.rows("SELECT count(*)::int FROM {fact_default}") == [(2,)]
    published = client.published()

    said = command(product, "maintain")

    assert f"partitions of {client.kind.fact}: ALARM: the default partition was hit; its 2 rows" in said
    assert client.rows("SELECT count(*)::int FROM {fact_default}") == [(0,)]
    assert f"{client.kind.fact}_20310331" in partitions(client)
    assert client.published() == published


def test_a_count_that_is_not_its_facts_is_found_and_named(client: KindClient, product: Product) -> None:
    record_at(client, datetime.now(UTC), 1)
    for table, measure in measures_of(client):
        rows(product.database, f"UPDATE {table} SET {measure} = {measure} + 1")  # noqa: S608 - names of ours
        drifts = verify(product.database).drifts
        rows(product.database, f"UPDATE {table} SET {measure} = {measure} - 1")  # noqa: S608 - names of ours
        assert drifts
        assert all(each.startswith(f"{client.kind.fact}, project 1") for each in drifts)
        assert measure == "event_count" or all(f", {measure}: " in each for each in drifts)
        assert verify(product.database).drifts == []


def measures_of(client: KindClient) -> list[tuple[str, str]]:
    """Each table beside the facts, with each of its columns that is compared with them."""
    [(sums,)] = client.rows(
        "SELECT sum_columns FROM maintenance.fact_table WHERE fact = %(fact)s", fact=client.kind.fact
    )
    # Minutes are compared for past days only.
    tables = [table for table in rollups_of(client) if not table.endswith("_minute")]
    measures = ["event_count", *(f"{each}_sum" for each in sums)]
    return [(table, measure) for table in [*tables, f"{client.kind.fact}_retired"] for measure in measures]


def rollups_of(client: KindClient) -> list[str]:
    [(names,)] = client.rows("SELECT rollups FROM maintenance.fact_table WHERE fact = %(fact)s", fact=client.kind.fact)
    return [f"{client.kind.fact}_{name}" for name in names]


def test_a_kind_whose_table_is_busy_is_an_alarm_and_the_others_are_maintained(
    client: KindClient, product: Product
) -> None:
    week = date(2024, 2, 5)
    moment = datetime(2024, 2, 7, tzinfo=UTC)
    others = [each for each in KINDS if each is not client.kind]
    minutes = [table for table in rollups_of(client) if table.endswith("_minute")]
    for kind in KINDS:
        with KindClient(product, kind) as each:
            new_week(each, week)
            record_at(each, moment, 1)
    with closing(psycopg2.connect(product.database.admin_url)) as holder, holder.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {', '.join([client.kind.fact, *minutes])} IN ACCESS EXCLUSIVE MODE")
        with cutting_waits_short(product):
            finished = finished_command(product.database.writer_env, "maintain")
    assert finished.returncode == 1
    alarms = {line.split(":")[0] for line in finished.stdout.splitlines() if "a long transaction is in the way" in line}
    followed = ["presences"] if client.kind.fact in FOLLOWERS else []
    steps = ["partitions", *followed, "retention", *(["minutes"] if minutes else [])]
    assert alarms == {f"{step} of {client.kind.fact}" for step in steps}
    for kind in others:
        assert f"retention of {kind.fact}: week 2024-02-05 dropped, its 1 facts stay counted" in finished.stdout
    assert f"retention of {client.kind.fact}: week 2024-02-05 dropped" in command(product, "maintain")
    assert f"{client.kind.fact}_20240205" not in partitions(client)


@contextmanager
def cutting_waits_short(product: Product) -> Iterator[None]:
    """End each statement of maintenance that waits for a lock: by itself it gives up after half a minute."""
    stop = threading.Event()

    def cut() -> None:
        while not stop.wait(0.1):
            rows(
                product.database,
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                "AND datname = current_database() AND query ~ 'maintenance|_default|_minute'",
            )

    thread = threading.Thread(target=cut)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
