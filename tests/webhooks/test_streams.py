"""A webhook gets every event as it is, in order and at least once, from where it was made to begin."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from device_registration_api.exports.position import Position
from device_registration_api.webhooks.streams import BATCH_ROWS_MAX
from tests.database import rows

if TYPE_CHECKING:
    from tests.servers import Product
    from tests.webhooks.conftest import Sender, Webhooks
    from tests.webhooks.receiver import Received, Receiver

FILL = """
    INSERT INTO auth_event (project_id, received_at, event_id, occurred_at, device_type, user_key)
    SELECT project_id, now() + number * interval '1 microsecond', gen_random_uuid(), now(), 'TV', %(name)s || number
      FROM project, generate_series(1, %(rows)s) AS number WHERE project_key = %(project)s
"""
SET_CURSOR = """
    UPDATE webhook_stream SET cursor = %(cursor)s, next_attempt_at = now() WHERE webhook_id = %(webhook)s
"""
CURSOR = "SELECT cursor FROM webhook_stream WHERE webhook_id = %(webhook)s"


def fill(product: Product, webhooks: Webhooks, name: str, number: int) -> list[str]:
    rows(product.database, FILL, {"project": webhooks.project["project_key"], "name": name, "rows": number})
    return [f"{name}{each}" for each in range(1, number + 1)]


def stream(webhooks: Webhooks, url: str, **more: object) -> dict[str, Any]:
    """A webhook with a stream of auth events."""
    webhook = webhooks.create(url)
    webhooks.ask("POST", f"/{webhook['id']}/streams", {"kind": "auth_events", **more})
    return webhook


def users(received: list[Received]) -> list[str]:
    return [event["userKey"] for each in received for event in each.json["data"]["events"]]


def state(webhooks: Webhooks, webhook: dict[str, Any]) -> dict[str, Any]:
    [found] = webhooks.ask("GET", f"/{webhook['id']}")["streams"]
    return dict(found)


def test_every_event_arrives_in_order_and_then_what_comes_later(
    product: Product, webhooks: Webhooks, receiver: Receiver, sender: Sender
) -> None:
    names = fill(product, webhooks, "a", BATCH_ROWS_MAX + 20) + fill(product, webhooks, "b", 3)
    webhook = stream(webhooks, receiver.url)
    with receiver.up():
        assert "2 attempts" in sender.run()
        assert users(receiver.received) == names
        first, second = receiver.received
        assert first.is_signed_by(webhook["secret"])
        assert first.json["type"] == "events.batch"
        assert first.json["data"]["project_key"] == webhooks.project["project_key"]
        assert first.json["data"]["kind"] == "auth_events"
        assert {*first.json["data"]["events"][0]} == {"eventId", "userKey", "deviceType", "occurredAt", "receivedAt"}
        assert first.id != second.id
        shown = state(webhooks, webhook)
        assert shown["delivered_at"] is not None
        assert (shown["failed_attempts"], shown["last_error"]) == (0, None)
        later = fill(product, webhooks, "c", 2)
        assert "1 attempts" in sender.run(seconds_later=5)
        assert users(receiver.received) == names + later
        assert "0 attempts" in sender.run(seconds_later=10)


def test_a_batch_is_repeated_until_it_is_received_and_nothing_passes_it(
    product: Product, webhooks: Webhooks, receiver: Receiver, sender: Sender
) -> None:
    names = fill(product, webhooks, "a", BATCH_ROWS_MAX) + fill(product, webhooks, "b", 1)
    webhook = stream(webhooks, receiver.url)
    before = state(webhooks, webhook)["checkpoint"]
    assert "1 attempts" in sender.run()  # nobody is there
    assert state(webhooks, webhook)["last_error"] == "connection-refused"
    with receiver.up():
        receiver.status = 500
        assert "0 attempts" in sender.run()  # not before the pause is over
        assert "1 attempts" in sender.run(seconds_later=6)
        shown = state(webhooks, webhook)
        assert (shown["failed_attempts"], shown["last_error"]) == (2, "status 500")
        assert shown["checkpoint"] == before
        receiver.status = 204
        assert "2 attempts" in sender.run(seconds_later=60)
    refused, first, second = receiver.received
    assert refused.id == first.id
    assert refused.json["data"]["events"] == first.json["data"]["events"]
    assert users([first, second]) == names
    assert state(webhooks, webhook)["failed_attempts"] == 0


def test_a_process_that_dies_before_it_notes_the_answer_sends_the_batch_again(
    product: Product, webhooks: Webhooks, receiver: Receiver, sender: Sender
) -> None:
    """As two processes do, of which one was too slow to note it: the events come again, and none is left out."""
    names = fill(product, webhooks, "a", 3)
    webhook = stream(webhooks, receiver.url)
    [(cursor,)] = rows(product.database, CURSOR, {"webhook": webhook["id"]})
    with receiver.up():
        sender.run()
        rows(product.database, SET_CURSOR, {"cursor": cursor, "webhook": webhook["id"]})
        sender.run()
    first, again = receiver.received
    assert users([first]) == users([again]) == names
    assert first.id == again.id


def test_two_processes_send_a_stream_once(
    product: Product, webhooks: Webhooks, receiver: Receiver, sender: Sender
) -> None:
    names = fill(product, webhooks, "a", 2)
    webhook = stream(webhooks, receiver.url)
    claimed = "UPDATE webhook_stream SET claimed_until = now() + interval '90 s' WHERE webhook_id = %(webhook)s"
    rows(product.database, claimed, {"webhook": webhook["id"]})
    with receiver.up():
        assert "0 attempts" in sender.run()
        assert "1 attempts" in sender.run(seconds_later=91)  # the other one has died
    assert users(receiver.received) == names


def test_an_erased_event_is_in_no_repeat(
    product: Product, webhooks: Webhooks, receiver: Receiver, sender: Sender
) -> None:
    fill(product, webhooks, "a", 3)
    stream(webhooks, receiver.url)
    sender.run()
    rows(product.database, "DELETE FROM auth_event WHERE user_key = 'a2'")
    with receiver.up():
        sender.run(seconds_later=60)
    assert users(receiver.received) == ["a1", "a3"]


def test_after_a_restore_it_goes_on_an_hour_before(
    product: Product, webhooks: Webhooks, receiver: Receiver, sender: Sender
) -> None:
    names = fill(product, webhooks, "a", 2)
    webhook = stream(webhooks, receiver.url)
    with receiver.up():
        sender.run()
        [(found,)] = rows(
            product.database,
            "SELECT project_id FROM project WHERE project_key = %(p)s",
            {"p": webhooks.project["project_key"]},
        )
        of_before = Position(kind="auth_events", project_id=found, epoch="of another", transaction=2**40).text()
        old = "UPDATE auth_event SET received_at = received_at - interval '2 hours' WHERE user_key = 'a1'"
        rows(product.database, f"{old} AND project_id = {found}")
        rows(product.database, SET_CURSOR, {"cursor": of_before, "webhook": webhook["id"]})
        sender.run()
    assert users(receiver.received) == [*names, "a2"]


def test_it_begins_where_it_is_said_to(
    product: Product, webhooks: Webhooks, receiver: Receiver, sender: Sender
) -> None:
    fill(product, webhooks, "a", 2)
    first = stream(webhooks, receiver.url)
    with receiver.up():
        sender.run()
        checkpoint = state(webhooks, first)["checkpoint"]
        webhooks.ask("DELETE", f"/{first['id']}")
        stream(webhooks, receiver.url, cursor=checkpoint)
        stream(webhooks, receiver.url, **{"from": "2199-01-01T00:00:00Z"})
        later = fill(product, webhooks, "b", 1)
        sender.run(seconds_later=10)
    assert users(receiver.received) == ["a1", "a2", *later]


def test_an_inactive_webhook_is_sent_nothing_and_an_ended_stream_neither(
    product: Product, webhooks: Webhooks, receiver: Receiver, sender: Sender
) -> None:
    names = fill(product, webhooks, "a", 1)
    webhook = stream(webhooks, receiver.url)
    webhooks.ask("PATCH", f"/{webhook['id']}", {"is_active": False})
    with receiver.up():
        assert "0 attempts" in sender.run()
        webhooks.ask("PATCH", f"/{webhook['id']}", {"is_active": True})
        sender.run(seconds_later=5)
        webhooks.ask("DELETE", f"/{webhook['id']}/streams/auth_events")
        fill(product, webhooks, "b", 1)
        assert "0 attempts" in sender.run(seconds_later=10)
    assert users(receiver.received) == names
    assert webhooks.ask("GET", f"/{webhook['id']}")["streams"] == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"kind": "auth_events"}, 409),
        ({"kind": "pages"}, 422),
        ({}, 422),
        ({"kind": "measurements", "cursor": "nonsense"}, 422),
        ({"kind": "measurements", "from": "yesterday"}, 422),
        ({"kind": "measurements", "from": "2026-01-01T00:00:00Z", "cursor": "x"}, 422),
    ],
)
def test_a_stream_that_cannot_be_is_refused(
    webhooks: Webhooks, receiver: Receiver, body: dict[str, Any], status: int
) -> None:
    webhook = stream(webhooks, receiver.url)
    path = f"{webhooks.path}/{webhook['id']}/streams"
    assert webhooks.owner.ask("POST", path, body).status_code == status
    assert webhooks.owner.ask("DELETE", f"{path}/store_events").status_code == 404
    assert len(webhooks.ask("GET", f"/{webhook['id']}")["streams"]) == 1


def test_events_that_are_recorded_meanwhile_arrive_once_each(
    product: Product, webhooks: Webhooks, receiver: Receiver, sender: Sender
) -> None:
    stream(webhooks, receiver.url)
    names: list[str] = []

    def record() -> None:
        for number in range(30):
            names.extend(fill(product, webhooks, f"{number}-", 7))

    recording = threading.Thread(target=record)
    with receiver.up():
        recording.start()
        later = 0
        while recording.is_alive():
            later += 5
            sender.run(seconds_later=later)
        recording.join()
        sender.run(seconds_later=later + 5)
    assert sorted(users(receiver.received)) == sorted(names)
