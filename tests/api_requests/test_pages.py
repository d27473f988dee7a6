"""Raw rows: the newest first, page by page, each of them once."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import chain

import httpx2
import pytest

from tests.api_requests.conftest import TrackedProject
from tests.api_requests.payloads import request

NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)
SINCE = {"start_date": (NOW - timedelta(days=2)).isoformat()}


@pytest.fixture(scope="module")
def shared(new_project: Callable[[], TrackedProject]) -> TrackedProject:
    """Thirty requests; many of them happened at the same time."""
    project = new_project()
    project.track_all(
        [request(number, timestamp=(NOW - timedelta(seconds=number // 7)).isoformat()) for number in range(30)]
    )
    return project


def followed(project: TrackedProject, answer: httpx2.Response) -> list[list[str]]:
    """The ids of each page, from link to link."""
    pages = [[each["id"] for each in answer.json()]]
    while "link" in answer.headers:
        answer = project.http.get(answer.links["next"]["url"]).raise_for_status()
        pages.append([each["id"] for each in answer.json()])
    return pages


def test_rows_are_those_that_were_recorded(tracked: TrackedProject) -> None:
    sent = [tracked.track(request(number, consumer="c", user_agent="u")).json() for number in range(3)]
    found = tracked.table("")
    assert found == list(reversed(sent))


def test_the_newest_come_first_and_both_ends_are_included(shared: TrackedProject) -> None:
    found = shared.table("", **SINCE)
    keys = [(each["timestamp"], each["id"]) for each in found]
    assert len(keys) == 30
    assert keys == sorted(keys, reverse=True)
    one = shared.table("", start_date=NOW.isoformat(), end_date=NOW.isoformat())
    assert len(one) == 7
    assert shared.table("", start_date=(NOW + timedelta(microseconds=1)).isoformat()) == []


def test_pages_by_number_and_by_link_have_each_row_once(shared: TrackedProject) -> None:
    whole = [each["id"] for each in shared.table("", **SINCE)]
    first = shared.ask("", page_size=7, **SINCE)
    by_link = followed(shared, first)
    assert [len(page) for page in by_link] == [7, 7, 7, 7, 2]
    assert list(chain(*by_link)) == whole
    by_number = [[each["id"] for each in shared.table("", page_size=7, page=page, **SINCE)] for page in range(1, 7)]
    assert by_number == [*by_link, []]


def test_rows_that_come_meanwhile_move_no_page(tracked: TrackedProject) -> None:
    tracked.track_all([request(number) for number in range(10)])
    first = tracked.ask("", page_size=4)
    tracked.track_all([request(100) for _ in range(5)])
    ids = list(chain(*followed(tracked, first)))
    assert len(ids) == len(set(ids)) == 10


def test_a_link_keeps_the_form(shared: TrackedProject) -> None:
    first = shared.ask("", page_size=29, format="csv", **SINCE)
    second = shared.http.get(first.links["next"]["url"])
    assert second.headers["content-type"].startswith("text/csv")
    assert len(second.text.splitlines()) == 2


@pytest.mark.parametrize(
    ("query", "field"),
    [
        *[(f"page={each}", "page") for each in ("0", "-1", "1.5", "x", "", "9" * 5000, "102")],
        *[(f"page_size={each}", "page_size") for each in ("0", "10001", "²", "all")],
        *[(f"cursor={each}", "cursor") for each in ("", "x", "~", "2026-11-30T00:00:00Z~1", "2026-11-30T00:00:00~")],
        ("cursor=2026-11-30T00:00:00Z~0197aaaa-0000-7000-8000-000000000000&page=2", "page"),
        ("exact=true", "exact"),
    ],
)
def test_a_page_that_cannot_be_is_refused(shared: TrackedProject, query: str, field: str) -> None:
    answer = shared.http.get(f"{shared.path('')}?{query}")
    assert answer.status_code == 422
    assert [each["field"] for each in answer.json()["errors"]] == [field]
