"""A rule is compared with the product's own figures, and each change of its state is told of exactly once."""

from __future__ import annotations

import threading
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.people import StoreUserDraft
from contract.webhooks import RuleDraft, WebhookDraft
from device_registration_api.webhooks import commands, deliveries
from device_registration_api.webhooks.evaluation import evaluate, is_held, last_minute
from servicekit.database.sql import execute
from tests.database import dsn_of, rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx2

    from servicekit.database import Connection
    from tests.servers import MigratedDatabase
    from tests.webhooks.conftest import Sender, Webhooks

PROJECT = 1
MINUTE = timedelta(minutes=1)
# Ten seconds after a minute: it is the first to be evaluated.
BEGIN = datetime(2026, 11, 30, 12, 0, 10, tzinfo=UTC)
COUNT = """
    INSERT INTO auth_event_minute (project_id, device_type, bucket_start, slot, event_count)
    VALUES (1, %(device_type)s, %(at)s, 0, %(count)s)
"""

SET_ACTIVE = {
    "webhook": "UPDATE webhook SET is_active = %(is_active)s",
    "project": "UPDATE project SET is_active = %(is_active)s",
}
# As a figure that takes longer than a statement may.
SLOW = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF new.is_holding THEN
            RAISE EXCEPTION 'too slow' USING ERRCODE = 'query_canceled';
        END IF;
        RETURN new;
    END $$;
    CREATE TRIGGER refuse BEFORE UPDATE ON webhook_rule FOR EACH ROW
       WHEN (new.rule_id = '{}') EXECUTE FUNCTION refuse();
"""


def rule(**fields: object) -> RuleDraft:
    """A rule over sign-ins, unless it is said otherwise."""
    usual = {"name": "r", "figure": "auth_events", "condition": "above", "threshold": 10, "window_minutes": 5}
    return RuleDraft.model_validate({key: value for key, value in {**usual, **fields}.items() if value is not None})


class Project:
    """The default project, with one webhook."""

    def __init__(self, conn: Connection) -> None:
        self.conn = conn
        with conn:
            self.webhook = commands.create_webhook(conn, PROJECT, WebhookDraft(url="https://example.com/", rules=[]))

    def add(self, draft: RuleDraft, at: datetime = BEGIN) -> UUID:
        with self.conn:
            rule_id = commands.add_rule(self.conn, PROJECT, self.webhook.id, draft).id
            made = {"id": str(rule_id), "at": at}
            execute(self.conn, "UPDATE webhook_rule SET created_at = %(at)s WHERE rule_id = %(id)s::uuid", made)
        return rule_id

    def count(self, minute: datetime, count: int, device_type: str = "iOS") -> None:
        """So many sign-ins in a minute."""
        at = minute.replace(second=0)
        with self.conn:
            execute(self.conn, COUNT, {"device_type": device_type, "at": at, "count": count})

    def evaluate(self, now: datetime) -> int:
        return evaluate(self.conn, now, pytest.fail)

    def told(self) -> list[str]:
        """The types of all deliveries, the first first."""
        with self.conn:
            found = deliveries.list_deliveries(self.conn, PROJECT, self.webhook.id)
        assert [each.sequence for each in found] == [*range(len(found), 0, -1)]
        return [each.type for each in reversed(found)]


@contextmanager
def writer(database: MigratedDatabase) -> Iterator[Connection]:
    """A connection as the process has one."""
    with closing(psycopg2.connect(dsn_of(database.writer_env))) as conn:
        yield conn


@pytest.fixture
def project(database: MigratedDatabase) -> Iterator[Project]:
    """In a database of its own."""
    with writer(database) as conn:
        yield Project(conn)


def test_a_minute_is_evaluated_when_it_has_settled() -> None:
    assert last_minute(BEGIN) == BEGIN.replace(second=0)
    assert last_minute(BEGIN - timedelta(seconds=1)) == BEGIN.replace(second=0) - MINUTE


def test_a_threshold_is_told_of_when_it_is_crossed_and_when_it_is_not_any_more(project: Project) -> None:
    project.add(rule(threshold=10, window_minutes=2))
    project.count(BEGIN - 2 * MINUTE, 6)
    project.count(BEGIN - MINUTE, 4)
    assert project.evaluate(BEGIN) == 0  # 10 is not above 10
    project.count(BEGIN, 7)
    assert project.evaluate(BEGIN) == 0  # that minute is not complete
    assert project.evaluate(BEGIN + MINUTE) == 1
    assert project.evaluate(BEGIN + MINUTE) == 0  # a repeat tells nothing
    assert project.told() == ["rule.started"]
    assert project.evaluate(BEGIN + 2 * MINUTE) == 1
    assert project.told() == ["rule.started", "rule.resolved"]
    with project.conn:
        [resolved, started] = deliveries.list_deliveries(project.conn, PROJECT, project.webhook.id)
    assert '"value":11.0' in started.payload
    assert '"starts":"2026-11-30T11:59:00+00:00","ends":"2026-11-30T12:01:00+00:00"' in started.payload
    assert '"value":7.0' in resolved.payload


def test_a_filter_by_device_type_counts_that_type_alone(project: Project) -> None:
    ios = project.add(rule(device_type="iOS"))
    everything = project.add(rule())
    project.count(BEGIN - MINUTE, 6, "iOS")
    project.count(BEGIN - MINUTE, 6, "TV")
    assert project.evaluate(BEGIN) == 1
    with project.conn:
        found = {each.id: each for each in commands.read_webhook(project.conn, PROJECT, project.webhook.id).rules}
    assert (found[ios].value, found[ios].is_holding) == (6, False)
    assert (found[everything].value, found[everything].is_holding) == (12, True)


def test_silence_begins_a_window_after_the_rule(project: Project) -> None:
    project.add(rule(condition="silent", threshold=None, window_minutes=3), at=BEGIN)
    told = [project.evaluate(BEGIN + minute * MINUTE) for minute in range(5)]
    assert told == [0, 0, 0, 0, 1]
    project.count(BEGIN + 4 * MINUTE, 1)
    assert project.evaluate(BEGIN + 5 * MINUTE) == 1
    assert project.told() == ["rule.started", "rule.resolved"]


@pytest.mark.parametrize("state", SET_ACTIVE)
def test_what_is_inactive_is_not_evaluated(project: Project, database: MigratedDatabase, state: str) -> None:
    project.add(rule(threshold=0))
    project.count(BEGIN - MINUTE, 1)
    rows(database, SET_ACTIVE[state], {"is_active": False})
    assert project.evaluate(BEGIN) == 0
    rows(database, SET_ACTIVE[state], {"is_active": True})
    assert project.evaluate(BEGIN) == 1


def test_a_rule_that_fails_is_reported_once_a_minute_and_stops_no_other(
    project: Project, database: MigratedDatabase
) -> None:
    broken, _ = project.add(rule(threshold=0)), project.add(rule(threshold=0))
    project.count(BEGIN - MINUTE, 1)
    rows(database, SLOW.format(broken))
    said: list[str] = []
    assert evaluate(project.conn, BEGIN, said.append) == 1
    assert evaluate(project.conn, BEGIN, said.append) == 0
    assert said == [f"rule {broken}: QueryCanceled; the next minute tries again"]


@settings(max_examples=15, deadline=None)
@given(
    counts=st.lists(st.integers(0, 6), min_size=1, max_size=8),
    condition=st.sampled_from(["above", "below", "silent"]),
    window=st.integers(1, 3),
)
def test_each_change_is_one_delivery_and_states_alternate(
    session_database: MigratedDatabase, counts: list[int], condition: str, window: int
) -> None:
    """Compared with a model that sums the minutes itself. Everything is evaluated twice, as by two processes."""
    draft = rule(condition=condition, threshold=None if condition == "silent" else 3, window_minutes=window)
    with writer(session_database) as conn:
        project = Project(conn)
        project.add(draft, at=BEGIN - 10 * MINUTE)
        expected: list[str] = []
        is_holding = False
        for minute, count in enumerate(counts):
            project.count(BEGIN + minute * MINUTE, count)
            assert (
                project.evaluate(BEGIN + (minute + 1) * MINUTE) + project.evaluate(BEGIN + (minute + 1) * MINUTE) <= 1
            )
            if is_held(draft, sum(counts[max(0, minute + 1 - window) : minute + 1])) != is_holding:
                is_holding = not is_holding
                expected.append("rule.started" if is_holding else "rule.resolved")
        assert project.told() == expected
        with conn:
            commands.delete_webhook(conn, PROJECT, project.webhook.id)
            execute(conn, "DELETE FROM auth_event_minute", {})


def test_two_processes_at_once_tell_of_a_change_once(project: Project, database: MigratedDatabase) -> None:
    for _ in range(20):
        project.add(rule(threshold=0))
    project.count(BEGIN - MINUTE, 1)
    changes: list[int] = []

    def process() -> None:
        with writer(database) as conn:
            changes.append(evaluate(conn, BEGIN, pytest.fail))

    threads = [threading.Thread(target=process) for _ in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sum(changes) + project.evaluate(BEGIN) == 20
    assert project.told() == ["rule.started"] * 20


def test_figures_are_those_of_the_public_service(webhooks: Webhooks, sender: Sender, public: httpx2.Client) -> None:
    """Events recorded over HTTP; a minute later, by the clock of the process, the rules see them."""
    key = {"X-API-Key": webhooks.owner.key(webhooks.project, scopes=["ingest", "read", "manage"])["key"]}
    for number in range(1, 41):
        status = 500 if number % 10 == 0 else 200
        body = {"url_path": "/p", "method": "GET", "response_status_code": status, "response_time_ms": number * 7}
        public.post("/api/v1/track", json=body, headers=key).raise_for_status()
    public.post("/api/v1/devices", json={"device_id": "d 1"}, headers=key).raise_for_status()
    for number in range(4):
        point = {"x": number, "y": -number, "z": 0.5}
        public.post("/api/v1/stats/devices/d%201", json=point, headers=key).raise_for_status()
    public.post("/Log/auth", json={"userKey": "u", "deviceType": "TV"}, headers=key).raise_for_status()
    looked_at = {
        "requests": 40,
        "error_rate": 10,
        "p50_ms": None,
        "p95_ms": None,
        "p99_ms": None,
        "auth_events": 1,
        "measurements": 4,
        "x_min": 0,
        "x_max": 3,
        "x_mean": 1.5,
        "y_min": -3,
        "y_max": 0,
        "y_mean": -1.5,
        "z_mean": 0.5,
    }
    device = {"device_id": "d 1"}
    drafts = [
        {"name": each, "figure": each, "condition": "above", "threshold": 1e9, "window_minutes": 15}
        | (device if each[1] == "_" or each == "measurements" else {})
        for each in looked_at
    ]
    webhook = webhooks.create("https://example.com/", *drafts)
    # The minutes of the events are complete then.
    sender.run(seconds_later=75)
    values = {each["figure"]: each["value"] for each in webhooks.ask("GET", f"/{webhook['id']}")["rules"]}
    metrics = f"/api/v1/projects/{webhooks.project['project_key']}/metrics/summary"
    summary = public.get(metrics, headers=key).raise_for_status().json()
    for percent in (50, 95, 99):
        looked_at[f"p{percent}_ms"] = summary[f"p{percent}_ms"]
    assert values == pytest.approx(looked_at)


def test_store_events_count_as_they_arrive(webhooks: Webhooks, sender: Sender, public: httpx2.Client) -> None:
    key = {"X-API-Key": webhooks.owner.key(webhooks.project, scopes=["ingest", "read", "manage"])["key"]}
    [user] = StoreUserDraft.model_json_schema()["examples"]
    made = public.post("/api/user", json=user, headers=key).raise_for_status().json()
    event: dict[str, Any] = {"type": "purchase", "user_id": made["id"], "data": {}}
    usual = {"figure": "store_events", "condition": "above", "threshold": 1, "window_minutes": 1}
    webhook = webhooks.create(
        "https://example.com/",
        {"name": "all", **usual},
        {"name": "purchases", **usual, "event_type": "purchase"},
        {"name": "visits", **usual, "event_type": "visit"},
        {"name": "no visits", **usual, "event_type": "visit", "condition": "silent", "threshold": None},
    )
    public.post("/api/event", json=event, headers=key).raise_for_status()
    assert "0 rules" in sender.run(seconds_later=120)  # the first sample: nothing is known of a window
    for _ in range(2):
        public.post("/api/event", json=event, headers=key).raise_for_status()
    assert "3 rules" in sender.run(seconds_later=180)
    found = {each["name"]: each for each in webhooks.ask("GET", f"/{webhook['id']}")["rules"]}
    assert {name: (each["value"], each["is_holding"]) for name, each in found.items()} == {
        "all": (2, True),
        "purchases": (2, True),
        "visits": (0, False),
        "no visits": (0, True),
    }


def test_a_device_that_falls_silent(webhooks: Webhooks, sender: Sender, public: httpx2.Client) -> None:
    key = {"X-API-Key": webhooks.owner.key(webhooks.project, scopes=["ingest", "read", "manage"])["key"]}
    for name in ("loud", "silent"):
        public.post("/api/v1/devices", json={"device_id": name}, headers=key).raise_for_status()
    silent = {"figure": "measurements", "condition": "silent", "window_minutes": 10}
    webhook = webhooks.create(
        "https://example.com/", *({"name": each, "device_id": each, **silent} for each in ("loud", "silent", "unknown"))
    )
    point = {"x": 0, "y": 0, "z": 0}
    public.post("/api/v1/stats/devices/silent", json=point, headers=key).raise_for_status()
    soon = {**point, "timestamp": (datetime.now(UTC) + timedelta(minutes=4)).isoformat()}
    public.post("/api/v1/stats/devices/loud", json=soon, headers=key).raise_for_status()
    assert "1 rules" in sender.run(seconds_later=13 * 60)
    found = {each["name"]: each["is_holding"] for each in webhooks.ask("GET", f"/{webhook['id']}")["rules"]}
    assert found == {"loud": False, "silent": True, "unknown": False}
