"""What is sent arrives, signed, in order, at least once, and with one delivery a state change."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING

import psycopg2
import pytest

from device_registration_api.webhooks.queue import CLAIMED_FOR, claim
from device_registration_api.webhooks.signing import signed_headers
from local.database import base_environment
from servicekit.process import clock
from tests.database import dsn_of, rows
from tests.personal_databases import key_list

if TYPE_CHECKING:
    from tests.servers import Product
    from tests.webhooks.conftest import Sender, Webhooks
    from tests.webhooks.receiver import Receiver

HOUR = 3600.0
SILENT = {"name": "nobody signs in", "figure": "auth_events", "condition": "silent", "window_minutes": 5}


def test_the_published_example_of_a_signature() -> None:
    """The one that implementations of the Standard Webhooks test themselves with."""
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signed_headers([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_test_arrives_signed(webhooks: Webhooks, receiver: Receiver, sender: Sender) -> None:
    webhook = webhooks.create(receiver.url)
    sent = webhooks.ask("POST", f"/{webhook['id']}/test")
    assert (sent["state"], sent["attempt_count"], sent["sequence"]) == ("pending", 0, 1)
    with receiver.up():
        assert sender.run() == "0 rules changed, 1 attempts\n"
    [received] = receiver.received
    assert received.path == "/hook?from=statistics"
    assert received.id == sent["id"]
    assert received.body.decode() == sent["payload"]
    assert received.json["type"] == "webhook.test"
    assert received.json["data"] == {
        "project_key": webhooks.project["project_key"],
        "webhook_id": webhook["id"],
        "sequence": 1,
    }
    assert received.headers["content-type"] == "application/json"
    assert abs(int(received.headers["webhook-timestamp"]) - time.time()) < 300  # what receivers accept
    assert received.is_signed_by(webhook["secret"])
    assert not received.is_signed_by("whsec_" + "A" * 43 + "=")
    [logged] = webhooks.log(webhook)
    assert (logged["state"], logged["attempt_count"], logged["next_attempt_at"]) == ("delivered", 1, None)
    [attempt] = logged["attempts"]
    assert (attempt["status"], attempt["error"]) == (200, None)
    assert sender.run() == "0 rules changed, 0 attempts\n"


def test_a_receiver_that_was_down_gets_everything_in_order_once_it_is_back(
    webhooks: Webhooks, receiver: Receiver, sender: Sender
) -> None:
    webhook = webhooks.create(receiver.url)
    first, second, third = (webhooks.ask("POST", f"/{webhook['id']}/test") for _ in range(3))
    assert "1 attempts" in sender.run()
    assert "0 attempts" in sender.run()  # not before the pause is over, and no later delivery before the first
    assert "1 attempts" in sender.run(seconds_later=5)
    before = webhooks.log(webhook)
    assert [each["state"] for each in before] == ["pending"] * 3
    assert [each["attempt_count"] for each in before] == [2, 0, 0]
    assert [each["error"] for each in before[0]["attempts"]] == ["connection-refused"] * 2
    assert [each["next_attempt_at"] is None for each in before] == [False, True, True]
    assert webhooks.ask("GET", f"/{webhook['id']}")["pending"] == 3
    with receiver.up():
        assert "3 attempts" in sender.run(seconds_later=HOUR)
    assert [each.id for each in receiver.received] == [first["id"], second["id"], third["id"]]
    assert [each.json["data"]["sequence"] for each in receiver.received] == [1, 2, 3]
    assert [each["state"] for each in webhooks.log(webhook)] == ["delivered"] * 3


def test_what_nobody_takes_is_given_up_and_can_be_sent_again(
    webhooks: Webhooks, receiver: Receiver, sender: Sender
) -> None:
    webhook = webhooks.create(receiver.url)
    sent = webhooks.ask("POST", f"/{webhook['id']}/test")
    sender.run()
    assert "1 deliveries were given up" in sender.run(seconds_later=72 * HOUR)
    [given_up] = webhooks.log(webhook)
    assert (given_up["state"], given_up["next_attempt_at"]) == ("given_up", None)
    assert given_up["finished_at"] is not None
    again = webhooks.ask("POST", f"/{webhook['id']}/deliveries/{sent['id']}/redeliver")
    assert (again["state"], again["finished_at"]) == ("pending", None)
    with receiver.up():
        assert "1 attempts" in sender.run()
    [received] = receiver.received
    assert (received.id, received.body.decode()) == (sent["id"], sent["payload"])
    assert webhooks.ask("GET", f"/{webhook['id']}/deliveries/{sent['id']}")["state"] == "delivered"


@pytest.mark.parametrize("status", [204, 301, 302, 400, 410, 500])
def test_only_a_status_of_success_is_delivered_and_no_redirect_is_followed(
    webhooks: Webhooks, receiver: Receiver, sender: Sender, status: int
) -> None:
    receiver.status = status
    webhook = webhooks.create(receiver.url)
    webhooks.ask("POST", f"/{webhook['id']}/test")
    with receiver.up():
        sender.run()
    assert len(receiver.received) == 1
    [logged] = webhooks.log(webhook)
    assert logged["state"] == ("delivered" if status == 204 else "pending")
    assert logged["attempts"][0]["status"] == status


def test_a_process_that_dies_after_it_has_sent_sends_again_under_the_same_id(
    webhooks: Webhooks, receiver: Receiver, sender: Sender, product: Product
) -> None:
    webhook = webhooks.create(receiver.url)
    sent = webhooks.ask("POST", f"/{webhook['id']}/test")
    with closing(psycopg2.connect(dsn_of(product.database.writer_env))) as conn, conn:
        [due] = claim(conn, clock.now(), 8)
        assert str(due.delivery_id) == sent["id"]
    with receiver.up():
        assert "0 attempts" in sender.run()  # another process has it
        assert "1 attempts" in sender.run(seconds_later=CLAIMED_FOR.total_seconds())
    assert receiver.received[0].id == sent["id"]


def test_after_a_rotation_both_secrets_sign_until_the_overlap_is_over(
    webhooks: Webhooks, receiver: Receiver, sender: Sender
) -> None:
    webhook = webhooks.create(receiver.url)
    rotated = webhooks.ask("POST", f"/{webhook['id']}/rotate", {"overlap_seconds": 60})
    assert rotated["secret"] != webhook["secret"]
    with receiver.up():
        webhooks.ask("POST", f"/{webhook['id']}/test")
        sender.run()
        webhooks.ask("POST", f"/{webhook['id']}/test")
        sender.run(seconds_later=61)
        last = webhooks.ask("POST", f"/{webhook['id']}/rotate", {"overlap_seconds": 0})
        webhooks.ask("POST", f"/{webhook['id']}/test")
        sender.run(seconds_later=62)
    secrets = [webhook["secret"], rotated["secret"], last["secret"]]
    assert [[each.is_signed_by(secret) for secret in secrets] for each in receiver.received] == [
        [True, True, False],
        [False, True, False],
        [False, False, True],
    ]


def test_an_inactive_webhook_and_a_deleted_project_send_nothing(
    webhooks: Webhooks, receiver: Receiver, sender: Sender, product: Product
) -> None:
    webhook = webhooks.create(receiver.url)
    webhooks.ask("POST", f"/{webhook['id']}/test")
    with receiver.up():
        webhooks.ask("PATCH", f"/{webhook['id']}", {"is_active": False})
        assert "0 attempts" in sender.run()
        webhooks.ask("PATCH", f"/{webhook['id']}", {"is_active": True})
        webhooks.owner.ask("DELETE", f"/{webhooks.project['project_key']}")
        assert "0 attempts" in sender.run()
    # As `maintain` does it, a minute later.
    project = {"id": webhooks.project["id"]}
    rows(
        product.database,
        "UPDATE project SET deleted_at = now() - interval '2 minutes' WHERE project_id = %(id)s",
        project,
    )
    while rows(product.database, "SELECT table_name FROM maintenance.delete_project_rows(%(id)s, 100)", project)[0][0]:
        pass
    for table in ("webhook", "webhook_secret", "webhook_rule", "webhook_delivery"):
        assert rows(product.database, f"SELECT FROM {table} WHERE project_id = %(id)s", project) == []


def test_a_secret_is_stored_encrypted_and_under_the_current_key(
    webhooks: Webhooks, product: Product, receiver: Receiver, sender: Sender
) -> None:
    webhook = webhooks.create(receiver.url)
    [(kek, wrapped)] = rows(
        product.database,
        "SELECT kek, wrapped FROM webhook_secret WHERE webhook_id = %(id)s::uuid",
        {"id": webhook["id"]},
    )
    assert kek == 1
    assert webhook["secret"].encode() not in bytes(wrapped)
    webhooks.ask("POST", f"/{webhook['id']}/test")
    with receiver.up():
        sender.run(PERSONAL_KEKS=key_list(2))
    assert receiver.received == []
    assert webhooks.log(webhook)[0]["attempts"][0]["error"] == "secret-not-readable"


def test_the_process_sends_by_itself_and_ends_at_sigterm(
    webhooks: Webhooks, receiver: Receiver, sender: Sender
) -> None:
    webhook = webhooks.create(receiver.url)
    webhooks.ask("POST", f"/{webhook['id']}/test")
    command = [sys.executable, "-m", "device_registration_api", "webhooks"]
    with receiver.up(), subprocess.Popen(command, env=base_environment() | sender.env) as process:
        try:
            assert receiver.arrived.wait(30)
        finally:
            os.kill(process.pid, 15)
        assert process.wait(30) == 0
    assert webhooks.log(webhook)[0]["state"] == "delivered"
