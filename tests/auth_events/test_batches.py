"""POST /Log/auth/batch: every item on its own, all of them in one transaction."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from tests.auth_events.payloads import NDJSON, WINDOWS, event
from tests.database import facts_of, rows
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
    "content_type",
    [
        "application/x-ndjson; charset=utf-8",
        "application/NDJSON",
        "application/jsonl",
        "application/jsonlines",
        "application/x-jsonlines",
    ],
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


BESIDE = {
    "NUL": rb'{"userKey":"user-\u0000","deviceType":"Android"}',
    "lone surrogate": rb'{"userKey":"\ud800","deviceType":"Android"}',
    "syntax": b'{"userKey":"u","deviceType":"Android",}',
    "depth": b'{"userKey":' + b"[" * 300 + b"]" * 300 + b',"deviceType":"Android"}',
    "size": b'{"userKey":"' + b"u" * 70_000 + b'","deviceType":"Android"}',
    "too old": b'{"userKey":"u","deviceType":"Android","occurredAt":"2020-01-01T00:00:00Z"}',
    "null": b"null",
}


@FORMS
@pytest.mark.parametrize("bad", BESIDE.values(), ids=BESIDE.keys())
def test_whatever_is_bad_about_an_item_its_neighbours_are_stored(
    public: httpx2.Client, product: Product, form: str, bad: bytes
) -> None:
    marker = f"beside-{uuid4()}"
    good = json.dumps(event(marker)).encode()
    content = b"\n".join([good, bad, good]) if form == "lines" else b"[%b]" % b",".join([good, bad, good])
    answer = public.post("/Log/auth/batch", content=content, headers=NDJSON if form == "lines" else {}).json()
    assert (answer["registered"], answer["rejected"], answer["results"][0]["index"]) == (2, 1, 1)
    assert facts_of(product.database, marker) == 2


@FORMS
def test_a_byte_order_mark_costs_no_event(public: httpx2.Client, form: str) -> None:
    items = [json.dumps(event("marked")).encode()] * 3
    body = b"\n".join(items) if form == "lines" else b"[%b]" % b",".join(items)
    headers = NDJSON if form == "lines" else {}
    answer = public.post("/Log/auth/batch", content=b"\xef\xbb\xbf" + body, headers=headers).json()
    assert (answer["registered"], answer["rejected"]) == (3, 0)


def test_a_file_that_lost_its_line_ends_is_refused_with_the_reason(public: httpx2.Client, product: Product) -> None:
    good = json.dumps(event("one-line")).encode()
    answer = public.post("/Log/auth/batch", content=good * 3, headers=NDJSON)
    assert answer.status_code == 422
    assert "several JSON values on one line" in answer.json()["detail"][0]["msg"]
    assert facts_of(product.database, "one-line") == 0


def test_what_is_no_object_is_told_so_in_the_words_of_json(public: httpx2.Client) -> None:
    answer = public.post("/Log/auth/batch", json=[None, 1, "a", []]).json()
    assert {each["detail"] for each in answer["results"]} == {"Input should be an object"}
    single = public.post("/Log/auth", content=b"[]").json()
    assert [(each["loc"], each["msg"]) for each in single["detail"]] == [(["body"], "Input should be an object")]


@pytest.mark.parametrize("offset", [16 * 60, 23 * 60 + 59, -(23 * 60 + 59)])
def test_a_time_with_any_offset_is_taken_alone_and_in_a_batch(
    public: httpx2.Client, product: Product, offset: int
) -> None:
    marker = f"offset-{uuid4()}"
    at = (datetime.now(UTC) - timedelta(hours=1)).astimezone(timezone(timedelta(minutes=offset)))
    item = event(marker, occurredAt=at.isoformat())
    assert public.post("/Log/auth", json=item).status_code == 200
    assert send(public, [item])["registered"] == 1
    statement = "SELECT DISTINCT occurred_at FROM auth_event WHERE user_key = %(user_key)s"
    assert rows(product.database, statement, {"user_key": marker}) == [(at,)]


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
