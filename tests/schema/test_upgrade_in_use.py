"""A database of release 0.1.0 is upgraded while processes of that release use it, and after."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
from psycopg2 import errors
from psycopg2.extensions import make_dsn

from contract.delivery import IdempotencyKey
from contract.schema import SCHEMA_NEEDED
from device_registration_api.events import idempotency
from device_registration_api.events.idempotency import ClaimResult, ClaimStatus, claim_of, run_plainly
from device_registration_api.events.rows import FactKey
from device_registration_api.followers import FOLLOWERS
from tests.schema.release_0_1_0 import SESSION, NotRecorded, Processes, claim, commit, new_identity, record_batch
from tests.schema.schema_steps import (
    LOGINS,
    downgrade_to,
    finished,
    migrate,
    rows,
    run,
    session,
    start,
    upgrade_to,
)

if TYPE_CHECKING:
    from servicekit.database import Connection
    from tests.schema.release_0_1_0 import Sent
    from tests.servers import Cluster

LOGIN = {"user": LOGINS["WRITER_DB_USER"], "password": LOGINS["WRITER_DB_PASSWORD"]}
REPORT_SECONDS = 4  # five times the lock_timeout of a writer are 2.5
MONDAY = datetime.now(UTC).date() - timedelta(days=datetime.now(UTC).weekday())

BATCH_KEYS = r"""
    SELECT split_part(key, chr(31), 2), body_sha256, event_id::text, answer
      FROM idempotency
     WHERE kind = 'auth_events/batch'
"""
STAMPED = """
    SELECT count(*) FILTER (WHERE commit_xid = 0), count(*) FILTER (WHERE commit_xid > 0) FROM auth_event
"""
# A year of one fact an hour, and one week that 0.1.0 retired: what an installation has when it is upgraded.
OLD_FACTS = """
    SELECT maintenance.make_week((date_trunc('week', now()) - n * interval '7 days')::date)
      FROM generate_series(-4, 52) AS n;
    INSERT INTO auth_event
    SELECT 1, moment, gen_random_uuid(), moment, 'Android', 'u'
      FROM generate_series(now() - interval '350 days', now(), interval '1 hour') AS moment;
    INSERT INTO auth_event_total SELECT project_id, device_type, 0, count(*) FROM auth_event GROUP BY 1, 2;
    INSERT INTO auth_event_quarter_hour
    SELECT project_id, device_type, date_bin('15 minutes', occurred_at, 'epoch'), 0, count(*)
      FROM auth_event GROUP BY 1, 2, 3;
    INSERT INTO auth_event_minute
    SELECT project_id, device_type, date_bin('1 minute', occurred_at, 'epoch'), 0, count(*)
      FROM auth_event GROUP BY 1, 2, 3;
    SELECT maintenance.retire_week((date_trunc('week', now()) - interval '49 weeks')::date);
"""


def environment(cluster: Cluster, name: str) -> dict[str, str]:
    return {
        "DB_HOST": cluster.host,
        "DB_PORT": str(cluster.port),
        "DB_NAME": name,
        "DB_USER": LOGIN["user"],
        "DB_PASSWORD": LOGIN["password"],
    }


def maintain_as_before(url: str) -> None:
    """As 0.1.0 does it. A week leaves after the users of its events are counted, which is this release's part."""
    with writer(url) as conn:
        FOLLOWERS["auth_event"].catch_up(conn)
    with writer(url) as conn, conn, conn.cursor() as cur:
        cur.execute("SELECT maintenance.make_week(%s)", (MONDAY + timedelta(weeks=6),))
        cur.execute("SELECT maintenance.retire_week(%s)", (MONDAY - timedelta(weeks=48),))
        assert cur.fetchone() == (168,)


@contextmanager
def writer(url: str) -> Iterator[Connection]:
    with closing(psycopg2.connect(make_dsn(url, **LOGIN), options=SESSION)) as conn:
        yield conn


def repeated(sent: Sent) -> Sent:
    """The same from the client, which gets an id of its own at the edge."""
    return sent._replace(event_id=str(uuid.uuid4()))


def claim_now(conn: Connection, kind: str, sent: list[Sent]) -> list[ClaimResult]:
    """As the release of this schema does it, with a fingerprint that 0.1.0 computes in another way."""
    claims = [
        claim_of(
            kind,
            IdempotencyKey(key=each.key, fingerprint=each.fingerprint),
            FactKey(1, datetime.now(UTC), each.event_id),
        )
        for each in sent
    ]
    return idempotency.claim(run_plainly(conn), claims)


def claim_batch(conn: Connection, batch: Sent) -> bool:
    """Whether the batch is new to the release of this schema."""
    changed = batch._replace(fingerprint="0" * 64)
    [result] = claim_now(conn, "auth_events/batch", [changed])
    return result.status is ClaimStatus.NEW


def stored_batches(url: str) -> dict[str, tuple[Any, ...]]:
    return {key: rest for key, *rest in rows(url, BATCH_KEYS)}  # type: ignore[misc]


@pytest.mark.parametrize("server", ["cluster", "postgres16"])
def test_no_process_of_0_1_0_fails_and_nothing_is_lost_or_counted_twice(
    server: str, request: pytest.FixtureRequest
) -> None:
    cluster: Cluster = request.getfixturevalue(server)
    with cluster.new_database() as name:
        url = cluster.admin_url(name)
        upgrade_to(url, "0002")
        rows(url, OLD_FACTS)
        [(before,)] = rows(url, "SELECT sum(event_count)::int FROM auth_event_total")
        processes = Processes(make_dsn(url, **LOGIN), 3)

        with processes.at_work():
            processes.wait_for(500)
            # A report is in the way for longer than a writer waits: it must not queue writers behind the upgrade.
            with session(url) as report, report.cursor() as cur:
                cur.execute("BEGIN; SELECT count(*) FROM auth_event")
                upgrade = start("migrate", {"DATABASE_URL": url, **LOGINS})
                time.sleep(REPORT_SECONDS)
                processes.wait_for(1)
                assert upgrade.poll() is None
                cur.execute("COMMIT")
            code, printed = finished(upgrade)
            assert code == 0, printed
            assert f"at revision {SCHEMA_NEEDED} (before: 0002)" in printed
            assert "restored" not in printed  # or exports would skip what was recorded meanwhile
            processes.wait_for(500)
            maintain_as_before(url)
            processes.wait_for(200)

        assert processes.failures == []
        code, printed = run("verify-counts", environment(cluster, name))
        assert code == 0, printed
        assert rows(url, "SELECT sum(event_count)::int FROM auth_event_total") == [(before + processes.events,)]
        [(old, new)] = rows(url, STAMPED)
        assert old >= 500
        assert new >= 500

        # A process of 0.1.0 and one of the new release both know what was recorded before, during and after.
        with writer(url) as conn, conn:
            won, owners = claim(conn, [repeated(each) for each in processes.singles], datetime.now(UTC))
            assert won == set()
            assert {(each.key, each.body_sha256) for each in owners} == {
                (each.key, each.fingerprint) for each in processes.singles
            }
            for batch, answer in processes.batches.items():
                repeat = repeated(batch)
                assert record_batch(conn, repeat, 50, slot=0) == answer
                [result] = claim_now(conn, "auth_events/batch", [repeat._replace(fingerprint="0" * 64)])
                assert result.status is ClaimStatus.REPLAY
                assert result.response is not None
                assert json.loads(result.response)["registered"] == answer["registered"]
            events = [repeated(each) for each in processes.singles]
            assert {each.status for each in claim_now(conn, "auth_events", events)} == {ClaimStatus.REPLAY}
            other = repeated(events[0])._replace(fingerprint="0" * 64)
            assert [each.status for each in claim_now(conn, "auth_events", [other])] == [ClaimStatus.CONFLICT]
        stored = stored_batches(url)
        assert {key: (event_id, answer) for key, (_, event_id, answer) in stored.items()} == {
            batch.key: (batch.event_id, answer) for batch, answer in processes.batches.items()
        }
        assert {fingerprint for fingerprint, *_ in stored.values()} == {None}
        assert rows(url, "SELECT count(*)::int FROM idempotency WHERE kind = 'auth_events' AND answer IS NULL") == [
            (len(processes.singles),)
        ]


def test_a_batch_of_the_new_release_is_never_recorded_again_by_0_1_0(fresh_database: str) -> None:
    migrate(fresh_database)
    batch = new_identity("one key")
    with writer(fresh_database) as conn:
        with conn:
            assert claim_batch(conn, batch)
        with pytest.raises(NotRecorded):
            commit(conn, lambda conn: record_batch(conn, new_identity("one key"), 50, slot=0))
        # Another key is no concern of it.
        commit(conn, lambda conn: record_batch(conn, new_identity("another key"), 50, slot=0))
    assert rows(fresh_database, "SELECT count(*)::int FROM auth_event") == [(50,)]


def test_two_releases_that_record_one_batch_at_once_record_it_once(fresh_database: str) -> None:
    migrate(fresh_database)
    with writer(fresh_database) as old, writer(fresh_database) as new:
        first = new_identity("old first")
        answer = record_batch(old, first, 50, slot=0)  # and has not committed
        with new.cursor() as cur:
            cur.execute("SET LOCAL lock_timeout = 100")
        with pytest.raises(errors.LockNotAvailable):
            claim_batch(new, new_identity("old first"))
        new.rollback()
        old.commit()
        assert not claim_batch(new, new_identity("old first"))
        new.rollback()
        assert {key: rest[2] for key, rest in stored_batches(fresh_database).items()} == {"old first": answer}

        assert claim_batch(new, new_identity("new first"))  # and has not committed
        with old.cursor() as cur:
            cur.execute("SET LOCAL lock_timeout = 100")
        with pytest.raises(errors.LockNotAvailable):
            record_batch(old, new_identity("new first"), 50, slot=0)
        old.rollback()
        new.commit()
    assert rows(fresh_database, "SELECT count(*)::int FROM auth_event") == [(50,)]


@pytest.mark.parametrize(
    ("kind", "key"), [("auth_events/batch", "plain"), ("other", "auth_events/batch\x1fkey"), ("other", "otherkey")]
)
def test_a_key_of_another_kind_without_the_kind_in_front_is_refused(fresh_database: str, kind: str, key: str) -> None:
    migrate(fresh_database)
    statement = """
        INSERT INTO idempotency (project_id, kind, key, event_id, received_at)
        VALUES (1, %(kind)s, %(key)s, gen_random_uuid(), now())
    """
    with writer(fresh_database) as conn, conn.cursor() as cur:
        with pytest.raises(errors.CheckViolation):
            cur.execute(statement, {"kind": kind, "key": key})
        conn.rollback()
        cur.execute(statement, {"kind": kind, "key": f"{kind}\x1f{'k' * 255}"})


def test_after_a_downgrade_a_batch_of_the_newer_release_is_refused_and_not_recorded_again(fresh_database: str) -> None:
    migrate(fresh_database)
    ours, theirs = new_identity("newer"), new_identity("older")
    with writer(fresh_database) as conn, conn:
        assert claim_batch(conn, ours)
        answer = record_batch(conn, theirs, 50, slot=0)
    downgrade_to(fresh_database, "0002")
    with writer(fresh_database) as conn, conn:
        assert record_batch(conn, repeated(theirs), 50, slot=0) == answer
        won, [owner] = claim(conn, [repeated(ours)], datetime.now(UTC))
        assert won == set()
        assert owner.body_sha256 not in {None, ours.fingerprint}
    migrate(fresh_database)
    assert "older" in stored_batches(fresh_database)
