"""POST /Log/auth/batch: every item on its own, all of them in one transaction."""

import json
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import httpx2
import psycopg2
import pytest

from tests.auth_events.payloads import DEVICE_TYPES, NDJSON, WINDOWS, event
from tests.database import administrator, assert_counts_are_exact, facts_of, rows
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
def test_a_batch_of_nothing_is_nothing(public: httpx2.Client, form: str) -> None:
    if form == "lines":
        for nothing in ("", "\n\n  \r\n"):
            answer = public.post("/Log/auth/batch", content=nothing, headers=NDJSON)
            assert answer.json() == {"registered": 0, "duplicate": 0, "rejected": 0, "results": []}
    else:
        assert send(public, []) == {"registered": 0, "duplicate": 0, "rejected": 0, "results": []}


@FORMS
def test_a_batch_of_one_is_one_event(public: httpx2.Client, product: Product, form: str) -> None:
    assert send(public, [event(f"one-{form}")], form) == {
        "registered": 1,
        "duplicate": 0,
        "rejected": 0,
        "results": [],
    }
    assert facts_of(product.database, f"one-{form}") == 1


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


def test_a_line_that_is_no_json_is_rejected_alone(public: httpx2.Client, product: Product) -> None:
    good = json.dumps(event("beside-garbage")).encode()
    bad = [b"{", b"\xff\xfe", good[:-1], b'{"userKey":"a\\u0000","deviceType":"iOS"}', b"NaN", b"[" * 25 + b"]" * 25]
    lines = [good, *bad, b"", b"   ", good]
    answer = public.post("/Log/auth/batch", content=b"\r\n".join(lines), headers=NDJSON).json()
    assert (answer["registered"], answer["duplicate"], answer["rejected"]) == (2, 0, len(bad))
    # Blank lines are no items: indexes count the others.
    assert [each["index"] for each in answer["results"]] == list(range(1, len(bad) + 1))
    assert facts_of(product.database, "beside-garbage") == 2


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


@FORMS
def test_ten_thousand_items_are_a_batch_and_their_counts_are_exact(
    public: httpx2.Client, product: Product, form: str
) -> None:
    before = {each["deviceType"]: each["count"] for each in public.get("/Log/auth/statistics").json()["statistics"]}
    items = [event(f"{form}-{index}", DEVICE_TYPES[index % 3], eventId=str(uuid4())) for index in range(10_000)]
    assert send(public, items, form) == {"registered": 10_000, "duplicate": 0, "rejected": 0, "results": []}
    after = {each["deviceType"]: each["count"] for each in public.get("/Log/auth/statistics").json()["statistics"]}
    assert {name: after[name] - before[name] for name in after} == {
        "Android": 3_334,
        "TV": 3_333,
        "Watch": 3_333,
        "iOS": 0,
    }
    again = send(public, items, form)
    assert (again["registered"], again["duplicate"], len(again["results"])) == (0, 10_000, 10_000)
    assert_counts_are_exact(product)


@FORMS
def test_one_item_more_is_refused_whole(public: httpx2.Client, product: Product, form: str) -> None:
    items = [event("too-many")] * 10_001
    body = json.dumps(items) if form == "array" else "\n".join(json.dumps(item) for item in items)
    answer = public.post("/Log/auth/batch", content=body, headers=NDJSON if form == "lines" else {})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["msg"] == "at most 10000 items make a batch, and this one has more"
    assert facts_of(product.database, "too-many") == 0


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


def test_when_the_database_refuses_to_count_nothing_of_the_batch_is_stored(
    public: httpx2.Client, product: Product
) -> None:
    """The counters are the last statement: facts and keys were written before it failed."""
    key, ids = str(uuid4()), [str(uuid4()) for _ in range(100)]
    items = [event("half-way", "Watch", eventId=id_) for id_ in ids]
    counted = public.get("/Log/auth/statistics").content
    with administrator(product.database) as connection, connection.cursor() as cursor:
        cursor.execute("REVOKE INSERT, UPDATE ON auth_event_minute FROM registration_writer")
        try:
            answer = public.post("/Log/auth/batch", json=items, headers={"Idempotency-Key": key})
        finally:
            cursor.execute("GRANT INSERT, UPDATE ON auth_event_minute TO registration_writer")
    assert (answer.status_code, answer.json()["code"]) == (503, "not-recorded")
    assert answer.headers["retry-after"] == "1"
    assert facts_of(product.database, "half-way") == 0
    statement = "SELECT count(*) FROM idempotency WHERE key = ANY (%(keys)s)"
    assert rows(product.database, statement, {"keys": [key, *ids]}) == [(0,)]
    assert public.get("/Log/auth/statistics").content == counted

    again = public.post("/Log/auth/batch", json=items, headers={"Idempotency-Key": key})
    assert again.json()["registered"] == 100
    assert "idempotent-replayed" not in again.headers


def test_when_the_connection_is_cut_half_way_the_batch_is_stored_once_or_not_at_all(
    public: httpx2.Client, product: Product
) -> None:
    items = [event("cut", "Watch", eventId=str(uuid4())) for _ in range(100)]
    with psycopg2.connect(product.database.admin_url) as blocker, blocker.cursor() as cursor:
        cursor.execute("LOCK TABLE auth_event_minute IN SHARE MODE")  # the batch waits here, its facts written
        answers: list[httpx2.Response] = []
        client = threading.Thread(target=lambda: answers.append(public.post("/Log/auth/batch", json=items)))
        client.start()
        cut = wait_and_cut_a_waiting_writer(product)
        blocker.rollback()
        client.join()
    assert cut
    # The edge repeats with the same ids on a new connection, so the client sees nothing of it.
    assert answers[0].json()["registered"] == 100
    assert facts_of(product.database, "cut") == 100
    assert_counts_are_exact(product)


def wait_and_cut_a_waiting_writer(product: Product, seconds_max: float = 5.0) -> int:
    """Terminate the first writer's session that waits for a lock; how many there were."""
    deadline = time.monotonic() + seconds_max
    while time.monotonic() < deadline:
        cut = rows(
            product.database,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        if cut:
            return len(cut)
        time.sleep(0.02)
    return 0
