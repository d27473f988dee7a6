"""POST /Log/auth: what is accepted is stored as it was sent, what is refused says why and stores nothing."""

from datetime import UTC, datetime, timedelta, timezone
from uuid import uuid4

import httpx2
import pytest

from tests.auth_events.payloads import DEVICE_TYPES, REGISTERED, WINDOWS, event
from tests.database import facts_of, rows
from tests.servers import Product

NOW_MARGIN = timedelta(seconds=30)


def detail_of(answer: httpx2.Response) -> dict[tuple[str | int, ...], str]:
    """The fields that a 422 names, and what it says of each."""
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert set(body) == {"detail"}
    assert all(set(each) == {"type", "loc", "msg"} for each in body["detail"])
    return {tuple(each["loc"]): each["msg"] for each in body["detail"]}


def test_a_recorded_event_is_answered_with_the_documents_words_and_is_stored(
    public: httpx2.Client, product: Product
) -> None:
    before = datetime.now(UTC)
    answer = public.post("/Log/auth", json=event("user-123"), headers={"X-Request-ID": "first-one"})

    assert (answer.status_code, answer.json()) == (200, REGISTERED)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"] == "first-one"
    assert "idempotent-replayed" not in answer.headers
    [(project, device_type, occurred_at, received_at)] = rows(
        product.database,
        "SELECT project_id, device_type, occurred_at, received_at FROM auth_event WHERE user_key = 'user-123'",
    )
    assert (project, device_type) == (1, "iOS")
    assert occurred_at == received_at
    assert before <= received_at <= datetime.now(UTC)


def test_the_same_user_may_register_any_number_of_times(public: httpx2.Client, product: Product) -> None:
    for _ in range(3):
        assert public.post("/Log/auth", json=event("again")).status_code == 200
    assert facts_of(product.database, "again") == 3


@pytest.mark.parametrize("device_type", DEVICE_TYPES)
def test_each_device_type_is_accepted(public: httpx2.Client, device_type: str) -> None:
    assert public.post("/Log/auth", json=event("u", device_type)).json() == REGISTERED


@pytest.mark.parametrize("device_type", ["Windows", "ios", "IOS", "android", "tv", " iOS", "iOS ", "", "i'OS", "İOS"])
def test_any_other_device_type_is_400_with_the_documents_sentence(
    public: httpx2.Client, product: Product, device_type: str
) -> None:
    answer = public.post("/Log/auth", json=event("no-such-type", device_type))

    expected = f"Invalid deviceType {device_type!r}. Allowed values: ['Android', 'TV', 'Watch', 'iOS']"
    assert (answer.status_code, answer.json()) == (400, {"detail": expected})
    assert facts_of(product.database, "no-such-type") == 0


@pytest.mark.parametrize("device_type", [None, 1, True, [], ["iOS"], {"name": "iOS"}])
def test_a_device_type_that_is_not_a_string_is_422(public: httpx2.Client, device_type: object) -> None:
    answer = public.post("/Log/auth", json={"userKey": "u", "deviceType": device_type})
    assert list(detail_of(answer)) == [("body", "deviceType")]


def test_a_missing_device_type_is_422(public: httpx2.Client) -> None:
    assert detail_of(public.post("/Log/auth", json={"userKey": "u"})) == {("body", "deviceType"): "Field required"}


def test_when_both_fields_are_bad_422_wins(public: httpx2.Client) -> None:
    for body in ({"deviceType": "Windows"}, event("", "Windows"), event(" ", "Windows"), {"userKey": 5}):
        assert ("body", "userKey") in detail_of(public.post("/Log/auth", json=body))
    late = event("u", "Windows", occurredAt="yesterday")
    assert ("body", "occurredAt") in detail_of(public.post("/Log/auth", json=late))


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("x", "x"),
        ("  padded\t", "padded"),
        ("\u00a0\u3000unicode space\u2003", "unicode space"),
        ("Case Is Kept, and  inner   space", "Case Is Kept, and  inner   space"),
        ("l" * 255, "l" * 255),
        (" " + "m" * 255 + " ", "m" * 255),
        ("🦉" * 255, "🦉" * 255),
        ("é\u0301 \u202e \u200b'); DROP TABLE auth_event; --", "é\u0301 \u202e \u200b'); DROP TABLE auth_event; --"),
        ('%(user_key)s %s {0} \\ "', '%(user_key)s %s {0} \\ "'),
    ],
    ids=["one", "padded", "unicode-space", "inner-space", "255", "255-and-space", "255-astral", "hostile", "formats"],
)
def test_a_user_key_is_stored_as_sent_but_for_the_space_around_it(
    public: httpx2.Client, product: Product, sent: str, stored: str
) -> None:
    assert public.post("/Log/auth", json=event(sent)).json() == REGISTERED
    assert facts_of(product.database, stored) == 1


@pytest.mark.parametrize(
    "user_key",
    [
        "",
        " ",
        "\t\n\u2003",
        "\u200b",
        "\ufeff \u2060",
        "n" * 256,
        "🦉" * 256,
        "a\x00b",
        "a\x1fb",
        "a\nb",
        "a\x7fb",
        "a\x85b",
        5,
        None,
        True,
        [],
        {},
    ],
    ids=repr,
)
def test_a_bad_user_key_is_422_and_names_the_field(public: httpx2.Client, product: Product, user_key: object) -> None:
    [(total,)] = rows(product.database, "SELECT count(*) FROM auth_event")
    answer = public.post("/Log/auth", json={"userKey": user_key, "deviceType": "iOS"})

    assert list(detail_of(answer)) == [("body", "userKey")]
    assert rows(product.database, "SELECT count(*) FROM auth_event") == [(total,)]


@pytest.mark.parametrize(
    "ago",
    [
        timedelta(0),
        timedelta(days=1),
        timedelta(days=30) - NOW_MARGIN,
        -timedelta(minutes=5) + NOW_MARGIN,
    ],
    ids=str,
)
def test_a_time_within_the_window_is_stored_as_the_time_it_happened(
    public: httpx2.Client, product: Product, ago: timedelta
) -> None:
    user_key = f"late-{uuid4()}"
    moment = datetime.now(UTC) - ago
    assert public.post("/Log/auth", json=event(user_key, occurredAt=moment.isoformat())).json() == REGISTERED

    statement = "SELECT occurred_at FROM auth_event WHERE user_key = %(key)s"
    assert rows(product.database, statement, {"key": user_key}) == [(moment,)]


@pytest.mark.parametrize(
    ("ago", "why"),
    [
        (timedelta(days=30) + NOW_MARGIN, "must not be more than 30 days ago"),
        (timedelta(days=20_000), "must not be more than 30 days ago"),
        (-timedelta(minutes=5) - NOW_MARGIN, "must not be more than 5 minutes in the future"),
        (-timedelta(days=2_000_000), "must not be more than 5 minutes in the future"),
    ],
    ids=["30 days and a bit", "long ago", "5 minutes and a bit", "far ahead"],
)
def test_a_time_outside_the_window_is_refused_with_the_reason(
    public: httpx2.Client, product: Product, ago: timedelta, why: str
) -> None:
    moment = datetime.now(UTC) - ago
    answer = public.post("/Log/auth", json=event("outside", occurredAt=moment.isoformat()))

    assert why in detail_of(answer)["body", "occurredAt"]
    assert facts_of(product.database, "outside") == 0


def test_a_null_time_is_no_time(public: httpx2.Client) -> None:
    assert public.post("/Log/auth", json=event("u", occurredAt=None)).json() == REGISTERED


@pytest.mark.parametrize(
    "form", ["{:%Y-%m-%dT%H:%M:%SZ}", "{:%Y-%m-%d %H:%M:%S+00:00}", "{:%Y-%m-%dt%H:%M:%S.123456z}"]
)
def test_every_form_of_rfc_3339_is_accepted(public: httpx2.Client, form: str) -> None:
    text = form.format(datetime.now(UTC) - timedelta(hours=1))
    assert public.post("/Log/auth", json=event("u", occurredAt=text)).json() == REGISTERED


@pytest.mark.parametrize("minutes", [23 * 60 + 59, 16 * 60, -16 * 60, -(23 * 60 + 59), 5 * 60 + 45])
def test_any_offset_is_taken_by_every_route(
    public: httpx2.Client, private: httpx2.Client, product: Product, minutes: int
) -> None:
    moment = datetime.now(UTC).replace(microsecond=123_456) - timedelta(hours=1)
    text = moment.astimezone(timezone(timedelta(minutes=minutes))).isoformat()
    user_key = f"offset-{uuid4()}"
    body = event(user_key, occurredAt=text)
    assert public.post("/Log/auth", json=body).json() == REGISTERED
    assert private.post("/Device/register", json=body).json() == REGISTERED
    assert public.post("/Log/auth/batch", json=[body]).json()["registered"] == 1
    statement = "SELECT occurred_at FROM auth_event WHERE user_key = %(key)s"
    assert rows(product.database, statement, {"key": user_key}) == [(moment,)] * 3


def test_two_spellings_of_a_time_are_one_event(public: httpx2.Client, product: Product) -> None:
    moment = datetime.now(UTC).replace(microsecond=500_000) - timedelta(hours=1)
    spellings = (
        moment.isoformat(),
        f"{moment:%Y-%m-%dt%H:%M:%S}.5000009z",
        moment.astimezone(timezone(timedelta(hours=20))).isoformat(),
    )
    answers = [
        public.post("/Log/auth", json=event("spelt", occurredAt=each), headers={"Idempotency-Key": "spellings"})
        for each in spellings
    ]
    assert [each.json() for each in answers] == [REGISTERED] * 3
    assert facts_of(product.database, "spelt") == 1


@pytest.mark.parametrize("form", ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d", "%s", "%Y-%m-%dT%H:%M:%S+0000", "%Y-%m-%dT%H:%MZ"])
def test_a_naive_time_a_bare_date_or_another_format_is_refused(public: httpx2.Client, form: str) -> None:
    text = datetime.now(UTC).strftime(form)
    assert list(detail_of(public.post("/Log/auth", json=event("u", occurredAt=text)))) == [("body", "occurredAt")]


@pytest.mark.parametrize(
    "value",
    [0, 1_700_000_000, 1.5, True, [], {}, "", "now", "2026-02-30T00:00:00Z", "0001-01-01T00:00:00+23:59",
     "9999-12-31T23:59:59-23:59", "2026-11-22T25:00:00Z", "2026-11-22T10:00:00+99:99"],
)  # fmt: skip
def test_what_is_no_time_is_refused(public: httpx2.Client, value: object) -> None:
    assert list(detail_of(public.post("/Log/auth", json=event("u", occurredAt=value)))) == [("body", "occurredAt")]


@pytest.mark.parametrize("clock", ["23:59:60", "24:00:00"])
def test_a_time_that_no_clock_shows_is_refused_in_plain_words(public: httpx2.Client, clock: str) -> None:
    where = detail_of(public.post("/Log/auth", json=event("u", occurredAt=f"2016-12-31T{clock}Z")))
    assert "go from 00 to" in where["body", "occurredAt"]


def test_unknown_fields_are_ignored(public: httpx2.Client, product: Product) -> None:
    body = event("unknown-fields", event_id=7, user_id="x", nested={"a": [1, {"b": None}]})
    assert public.post("/Log/auth", json=body).json() == REGISTERED
    assert facts_of(product.database, "unknown-fields") == 1


def test_snake_case_is_not_a_word_of_the_wire(public: httpx2.Client) -> None:
    where = detail_of(public.post("/Log/auth", json={"user_key": "u", "device_type": "iOS"}))
    assert set(where) == {("body", "userKey"), ("body", "deviceType")}


def test_a_refusal_does_not_repeat_what_was_sent(public: httpx2.Client) -> None:
    marker = "secret-marker" * 40
    assert "secret-marker" not in public.post("/Log/auth", json=event(marker)).text
    assert public.post("/Log/auth", json=event("u", "Windows")).json() == {"detail": WINDOWS}
