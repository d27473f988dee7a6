"""Who may manage webhooks, and what is refused. What is sent is tested beside this."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx2
import pytest

from contract.webhooks import RULES_MAX, WEBHOOKS_MAX
from tests.database import rows
from tests.projects.conftest import PROJECTS, Account, refused

if TYPE_CHECKING:
    from tests.servers import Product, StartProduct
    from tests.webhooks.conftest import Webhooks

URL = "https://hooks.example.com/"
ERRORS: dict[str, Any] = {
    "name": "errors",
    "figure": "error_rate",
    "condition": "above",
    "threshold": 5,
    "window_minutes": 10,
}
MEASURED = {"device_id": "d", "figure": "x_max"}
REFUSED_RULES: dict[str, dict[str, Any]] = {
    "an unknown figure": {"figure": "visits"},
    "no threshold": {"threshold": None},
    "a threshold that is no number": {"threshold": "NaN"},
    "a threshold that is true": {"threshold": True},
    "silence with a threshold": {"figure": "requests", "condition": "silent"},
    "silence of a rate": {"condition": "silent", "threshold": None},
    "no window": {"window_minutes": 0},
    "a window of more than a day": {"window_minutes": 1441},
    "a device type of requests": {"device_type": "iOS"},
    "an unknown device type": {"figure": "auth_events", "device_type": "Fridge"},
    "an event type of requests": {"event_type": "purchase"},
    "a device of requests": {"device_id": "d"},
    "measurements of no device": {"figure": "x_max", "window_minutes": 15},
    "measurements by the minute": MEASURED,
}
ACCEPTED_RULES: dict[str, dict[str, Any]] = {
    "a rate": {},
    "silence": {"figure": "requests", "condition": "silent", "threshold": None},
    "a device type": {"figure": "auth_events", "device_type": "iOS"},
    "an event type": {"figure": "store_events", "event_type": "purchase"},
    "measurements": {**MEASURED, "window_minutes": 15, "condition": "below", "threshold": -1.5},
    "a silent device": {**MEASURED, "figure": "measurements", "condition": "silent", "threshold": None},
}
REFUSED_URLS = {
    "no address": "hooks",
    "another scheme": "ftp://example.com/",
    "a file": "file:///etc/passwd",
    "no host": "https://",
    "a password": "https://me:secret@example.com/",
    "a fragment": "https://example.com/#x",
    "a port that none has": "https://example.com:99999/",
    "too long": "https://example.com/" + "x" * 2048,
}


@pytest.mark.parametrize("name", REFUSED_RULES)
def test_a_rule_that_means_nothing_is_refused(webhooks: Webhooks, name: str) -> None:
    body = {"url": URL, "rules": [ERRORS | REFUSED_RULES[name]]}
    refused(webhooks.owner.ask("POST", webhooks.path, body), 422)
    assert webhooks.ask("GET") == []


@pytest.mark.parametrize("name", ACCEPTED_RULES)
def test_a_rule_that_means_something_is_stored(webhooks: Webhooks, name: str) -> None:
    webhook = webhooks.create(URL)
    draft = ERRORS | ACCEPTED_RULES[name]
    made = webhooks.ask("POST", f"/{webhook['id']}/rules", draft)
    assert {key: made[key] for key in draft} == draft
    assert (made["is_holding"], made["changed_at"], made["value"], made["evaluated_to"]) == (False, None, None, None)
    assert webhooks.ask("GET", f"/{webhook['id']}")["rules"] == [made]
    assert webhooks.ask("DELETE", f"/{webhook['id']}/rules/{made['id']}") is None
    assert webhooks.ask("GET", f"/{webhook['id']}")["rules"] == []
    refused(webhooks.owner.ask("DELETE", f"{webhooks.path}/{webhook['id']}/rules/{made['id']}"), 404)


@pytest.mark.parametrize("name", REFUSED_URLS)
def test_an_address_that_nothing_can_be_sent_to_is_refused(webhooks: Webhooks, name: str) -> None:
    refused(webhooks.owner.ask("POST", webhooks.path, {"url": REFUSED_URLS[name]}), 422)


def test_a_host_name_is_stored_in_ascii(webhooks: Webhooks) -> None:
    assert webhooks.create("https://bücher.example/ä")["url"] == "https://xn--bcher-kva.example/%C3%A4"


def test_the_secret_is_shown_once(webhooks: Webhooks) -> None:
    body = {"url": URL, "description": "alarms", "rules": [ERRORS]}
    first, second = (webhooks.owner.ask("POST", webhooks.path, body, Idempotency_Key="k 1") for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.headers["idempotent-replayed"] == "true"
    made = first.json()
    assert made["secret"].startswith("whsec_")
    assert len(made["secret"]) == len("whsec_") + 44
    assert second.json() == made | {"secret": None, "warning": second.json()["warning"]}
    shown = {key: value for key, value in made.items() if key not in {"secret", "warning"}}
    assert webhooks.ask("GET") == [shown]
    assert webhooks.ask("GET", f"/{made['id']}") == shown


def test_a_webhook_is_changed_and_deleted(webhooks: Webhooks) -> None:
    webhook = webhooks.create(URL, ERRORS)
    path = f"/{webhook['id']}"
    webhooks.ask("POST", f"{path}/test")
    changed = webhooks.ask("PATCH", path, {"url": "https://other.example.com/x", "description": "d"})
    assert (changed["url"], changed["description"], changed["is_active"]) == ("https://other.example.com/x", "d", True)
    assert webhooks.ask("PATCH", path, {"description": None, "is_active": False})["description"] is None
    for wrong in ({"url": None}, {"is_active": None}, {"is_active": "yes"}):
        refused(webhooks.owner.ask("PATCH", webhooks.path + path, wrong), 422)
    assert webhooks.ask("DELETE", path) is None
    refused(webhooks.owner.ask("GET", webhooks.path + path), 404)
    refused(webhooks.owner.ask("DELETE", webhooks.path + path), 404)


def test_a_deleted_webhook_leaves_nothing(webhooks: Webhooks, product: Product) -> None:
    webhook = webhooks.create(URL, ERRORS)
    webhooks.ask("POST", f"/{webhook['id']}/test")
    webhooks.ask("DELETE", f"/{webhook['id']}")
    project = {"id": webhooks.project["id"]}
    for table in ("webhook", "webhook_secret", "webhook_rule", "webhook_sample", "webhook_delivery"):
        assert rows(product.database, f"SELECT FROM {table} WHERE project_id = %(id)s", project) == []


def test_the_log_is_read_in_pages(webhooks: Webhooks) -> None:
    path = f"/{webhooks.create(URL)['id']}"
    for _ in range(3):
        webhooks.ask("POST", f"{path}/test")
    log = f"{path}/deliveries"
    assert [each["sequence"] for each in webhooks.ask("GET", log)] == [3, 2, 1]
    assert [each["sequence"] for each in webhooks.ask("GET", f"{log}?limit=2")] == [3, 2]
    assert [each["sequence"] for each in webhooks.ask("GET", f"{log}?before=2")] == [1]
    for wrong in ("limit=0", "limit=101", "before=0", "before=x", "after=1"):
        refused(webhooks.owner.ask("GET", f"{webhooks.path}{log}?{wrong}"), 422)


def test_limits_are_kept(webhooks: Webhooks) -> None:
    webhook = webhooks.create(URL, *[ERRORS] * RULES_MAX)
    refused(webhooks.owner.ask("POST", f"{webhooks.path}/{webhook['id']}/rules", ERRORS), 409)
    refused(webhooks.owner.ask("POST", webhooks.path, {"url": URL, "rules": [ERRORS] * (RULES_MAX + 1)}), 422)
    for _ in range(WEBHOOKS_MAX - 1):
        webhooks.create(URL)
    assert "at most" in refused(webhooks.owner.ask("POST", webhooks.path, {"url": URL}), 409)


def test_a_member_who_is_no_owner_sees_and_changes_nothing(webhooks: Webhooks, public: httpx2.Client) -> None:
    webhook = webhooks.create(URL)
    member = Account(public)
    project = f"/{webhooks.project['project_key']}"
    assert webhooks.owner.ask("POST", f"{project}/members", {"email": member.email}).is_success
    for method, below, body in (
        ("GET", "", None),
        ("POST", "", {"url": URL}),
        ("GET", f"/{webhook['id']}", None),
        ("POST", f"/{webhook['id']}/rotate", None),
        ("GET", f"/{webhook['id']}/deliveries", None),
        ("DELETE", f"/{webhook['id']}", None),
    ):
        assert "only an owner" in refused(member.ask(method, webhooks.path + below, body), 403)


def test_a_key_that_may_manage_is_as_good_as_an_owner(webhooks: Webhooks, public: httpx2.Client) -> None:
    key = webhooks.owner.key(webhooks.project, scopes=["manage"])["key"]
    path = PROJECTS + webhooks.path
    made = public.post(path, json={"url": URL}, headers={"X-API-Key": key})
    assert made.status_code == 201
    assert made.headers["cache-control"] == "no-store"
    assert [each["id"] for each in public.get(path, headers={"X-API-Key": key}).json()] == [made.json()["id"]]
    reader = webhooks.owner.key(webhooks.project, scopes=["read", "ingest"])["key"]
    refused(public.get(path, headers={"X-API-Key": reader}), 403)
    refused(public.get(path), 401)


def test_a_webhook_of_another_project_is_not_found(webhooks: Webhooks, owner: Account) -> None:
    webhook = webhooks.create(URL)
    sent = webhooks.ask("POST", f"/{webhook['id']}/test")
    other = f"/{owner.project()['project_key']}/webhooks"
    for method, below in (
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/rotate"),
        ("POST", "/test"),
        ("GET", "/deliveries"),
        ("GET", f"/deliveries/{sent['id']}"),
        ("POST", f"/deliveries/{sent['id']}/redeliver"),
    ):
        body = {"description": "d"} if method == "PATCH" else None
        refused(owner.ask(method, f"{other}/{webhook['id']}{below}", body), 404)
    refused(owner.ask("GET", f"{webhooks.path}/{uuid4()}"), 404)
    refused(owner.ask("GET", f"{webhooks.path}/x"), 422)


def test_without_a_key_for_secrets_no_webhook_is_made(start_product: StartProduct) -> None:
    """The private service alone is asked: accounts need the key, too."""
    without = start_product()
    headers = {"Authorization": f"Bearer {without.service_token}"}
    url = f"{without.private_url}/administration/projects/default/webhooks"
    answer = httpx2.post(url, headers=headers, json={"draft": {"url": URL}}, trust_env=False)
    assert (answer.status_code, answer.json()["code"]) == (503, "not-configured")
    assert httpx2.get(url, headers=headers, trust_env=False).json() == []
