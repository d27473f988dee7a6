"""POST /Log/auth/batch: every item on its own, all of them in one transaction."""

import json
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from tests.auth_events.payloads import NDJSON, WINDOWS, event
from tests.database import facts_of
from tests.servers import Product

FORMS = pytest.mark.parametrize("form", ["array", "lines"])
BATCH_BYTES_MAX = 4 * 1024 * 1024


def send(public: httpx2.Client, items: Sequence[object], form: str = "array") -> dict[str, Any]:
    """Send items in one of the two forms; the answer's body."""
    if form == "array":
        answer = public.post("/Log/auth/batch", json=list(items))
    else:
        lines = "\n".join(json.dumps(item) for item in items)
        answer = public.post("/Log/auth/batch", content=lines, headers=NDJSON)
    assert answer.status_code == 200, answer.text[:500]
    body: dict[str, Any] = answer.json()
    return body


@FORMS
def test_each_refused_item_is_listed_with_its_index_and_its_reason(
    public: httpx2.Client, product: Product, form: str
) -> None:
    marker = f"mixed-{form}"
    items = [
        event(marker),
        event(marker, "Windows"),
        event(""),
        event(marker, eventId=f"id-{form}"),
        "no object",
        event(marker, eventId=f"id-{form}"),
        event(marker, occurredAt="2020-01-01T00:00:00Z"),
        event(marker, eventId="e" * 256),
        event(marker, "TV"),
        None,
    ]
    answer = send(public, items, form)
    assert (answer["registered"], answer["duplicate"], answer["rejected"]) == (3, 1, 6)
    assert [(each["index"], each["status"]) for each in answer["results"]] == [
        (1, "rejected"),
        (2, "rejected"),
        (4, "rejected"),
        (5, "duplicate"),
        (6, "rejected"),
        (7, "rejected"),
        (9, "rejected"),
    ]
    details = {each["index"]: each["detail"] for each in answer["results"]}
    assert details[1] == WINDOWS
    assert details[2].startswith("userKey: ")
    assert details[6] == "occurredAt: must not be more than 30 days ago"
    assert details[7].startswith("eventId: ")
    assert all(details.values())
    assert facts_of(product.database, marker) == 3


@pytest.mark.parametrize(
    "content_type", ["application/x-ndjson; charset=utf-8", "application/NDJSON", "application/jsonl"]
)
def test_lines_are_known_by_their_content_type(public: httpx2.Client, content_type: str) -> None:
    lines = "\n".join(json.dumps(event("u")) for _ in range(2))
    answer = public.post("/Log/auth/batch", content=lines, headers={"Content-Type": content_type})
    assert answer.json()["registered"] == 2


@pytest.mark.parametrize("body", ["{}", '"x"', "1", "null", json.dumps(event("u"))])
def test_an_array_is_expected_otherwise_and_the_way_to_send_lines_is_told(public: httpx2.Client, body: str) -> None:
    answer = public.post("/Log/auth/batch", content=body)
    assert answer.status_code == 422
    assert "application/x-ndjson" in answer.json()["detail"][0]["msg"]


def test_the_largest_batch_of_the_longest_items_fits_between_the_services_too(
    public: httpx2.Client, product: Product
) -> None:
    """What the edge adds to every item must not make a batch too large that a client may send."""
    plain = len(json.dumps(event("", eventId=str(uuid4())), separators=(",", ":"))) + 1
    user_key = "k" * 255
    items = [
        event(user_key, eventId=f"{uuid4()}{'e' * ((BATCH_BYTES_MAX - 2) // 10_000 - plain - 255)}")
        for _ in range(10_000)
    ]
    body = json.dumps(items, separators=(",", ":"))
    assert BATCH_BYTES_MAX * 0.95 < len(body) <= BATCH_BYTES_MAX
    answer = public.post("/Log/auth/batch", content=body)
    assert (answer.status_code, answer.json()["registered"]) == (200, 10_000)
    assert facts_of(product.database, user_key) == 10_000


def test_the_largest_batch_that_is_refused_item_by_item_is_answered(public: httpx2.Client) -> None:
    items = [{"userKey": "u", "deviceType": "\\" * 180} for _ in range(10_000)]
    answer = public.post("/Log/auth/batch", json=items)
    assert (answer.status_code, answer.json()["rejected"]) == (200, 10_000)
    one = [{"userKey": "u", "deviceType": "\x7f" * 650_000}]
    assert public.post("/Log/auth/batch", json=one).json()["rejected"] == 1
