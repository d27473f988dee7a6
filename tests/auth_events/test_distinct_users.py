"""GET /Log/auth/users: exact numbers of different users of any range of days, at once."""

from datetime import UTC, datetime, timedelta

import httpx2
import pytest

from tests.access.conftest import make_key, make_project
from tests.auth_events.payloads import WINDOWS, event
from tests.database import rows
from tests.servers import Product

URL = "/Log/auth/users"
FORWARD = "UPDATE project SET timezone = 'Pacific/Kiritimati' WHERE project_key = %(key)s"


def record(public: httpx2.Client, user: str, device_type: str = "iOS", days_ago: int = 0) -> None:
    at = datetime.now(UTC) - timedelta(days=days_ago)
    body = event(user, device_type) | {"occurredAt": at.isoformat()}
    public.post("/Log/auth", json=body).raise_for_status()


@pytest.fixture
def keyed(product: Product) -> httpx2.Client:
    """A client with a key of a new project."""
    key = make_key(product, make_project(product), "ingest", "read")
    return httpx2.Client(base_url=product.public_url, timeout=20, trust_env=False, headers={"X-API-Key": key})


def day(days_ago: int, today: datetime | None = None) -> str:
    return ((today or datetime.now(UTC)) - timedelta(days=days_ago)).date().isoformat()


def test_each_user_is_counted_once_and_as_new_only_once(keyed: httpx2.Client) -> None:
    before = datetime.now(UTC)
    nobody = keyed.get(URL).json()
    assert (nobody.pop("from"), nobody.pop("to")) in [
        (day(29, each), day(0, each)) for each in (before, datetime.now(UTC))
    ]
    assert nobody == {"timezone": "UTC", "distinct": 0, "new": 0, "returning": 0}
    for user, device_type, days_ago in (("a", "iOS", 5), ("a", "TV", 2), ("b", "iOS", 2), ("a", "iOS", 2)):
        record(keyed, user, device_type, days_ago)
        assert keyed.get(URL).json()["distinct"] == (2 if user == "b" or (device_type, days_ago) == ("iOS", 2) else 1)
    asked = keyed.get(URL, params={"from": day(3), "to": day(1)}).json()
    assert (asked["from"], asked["to"]) == (day(3), day(1))
    assert (asked["distinct"], asked["new"], asked["returning"]) == (2, 1, 1)
    of_tv = keyed.get(URL, params={"from": day(3), "to": day(1), "deviceType": "TV"}).json()
    assert (of_tv["distinct"], of_tv["new"], of_tv["returning"]) == (1, 1, 0)
    assert keyed.get(URL, params={"to": day(6)}).json()["distinct"] == 0


def test_a_key_reads_the_users_of_its_own_project(keyed: httpx2.Client, public: httpx2.Client) -> None:
    record(public, "of the default project")
    default = public.get(URL).json()["distinct"]
    record(keyed, "of another one")
    assert keyed.get(URL).json()["distinct"] == 1
    assert public.get(URL).json()["distinct"] == default >= 1


def test_days_are_those_of_the_zone_of_the_project(product: Product) -> None:
    project = make_project(product)
    rows(product.database, FORWARD, {"key": project})
    headers = {"X-API-Key": make_key(product, project, "ingest", "read")}
    now = datetime.now(UTC)
    at = (now - timedelta(days=2)).replace(hour=11)  # 01:00 of the next day
    with httpx2.Client(base_url=product.public_url, timeout=20, trust_env=False, headers=headers) as client:
        body = event("early") | {"occurredAt": at.isoformat()}
        client.post("/Log/auth", json=body).raise_for_status()
        for days_ago, users in ((2, 0), (1, 1), (0, 0)):
            found = client.get(URL, params={"from": day(days_ago, now), "to": day(days_ago, now)}).json()
            assert (found["timezone"], found["distinct"]) == ("Pacific/Kiritimati", users)


def test_an_unchanged_answer_is_a_304(keyed: httpx2.Client) -> None:
    first = keyed.get(URL)
    current = keyed.get(URL, headers={"If-None-Match": first.headers["ETag"]})
    assert (current.status_code, current.content) == (304, b"")
    record(keyed, "one more")
    changed = keyed.get(URL, headers={"If-None-Match": first.headers["ETag"]})
    assert (changed.status_code, changed.json()["distinct"]) == (200, 1)


def test_an_unknown_device_type_is_400_with_the_documents_sentence(public: httpx2.Client) -> None:
    answer = public.get(URL, params={"deviceType": "Windows"})
    assert (answer.status_code, answer.json()) == (400, {"detail": WINDOWS})


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ("from=2026-11-31", "from"),
        ("from=2026-11-01T00:00:00Z", "from"),
        ("to=1969-12-31", "to"),
        ("from=2026-11-02&to=2026-11-01", "from"),
        ("from=2026-11-01&from=2026-11-02", "from"),
        ("timezone=UTC", "timezone"),
        ("type=iOS", "type"),
    ],
)
def test_a_bad_range_or_an_unknown_parameter_is_422_and_named(public: httpx2.Client, asked: str, field: str) -> None:
    answer = public.get(f"{URL}?{asked}")
    assert answer.status_code == 422
    assert [each["loc"] for each in answer.json()["detail"]] == [["query", field]]


def test_a_key_that_may_not_read_is_refused(product: Product) -> None:
    key = make_key(product, make_project(product), "ingest")
    refused = httpx2.get(product.public_url + URL, headers={"X-API-Key": key}, trust_env=False)
    assert refused.status_code == 403
