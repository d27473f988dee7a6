"""What the bench stores without the service is what the service would have stored and counted."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from load import api_requests, fills, measurements, store_events
from tests.database import rows
from tests.servers import MigratedDatabase, run_command

EVENTS = 3_000


@given(count=st.integers(1, 20_000), days=st.integers(1, 60))
def test_each_event_is_in_one_part_and_each_part_is_of_one_day(count: int, days: int) -> None:
    parts = list(fills.parts(count, days))
    assert [each.first for each in parts] == [0, *[each.last + 1 for each in parts[:-1]]]
    assert parts[-1].last == count - 1
    assert len({each.day for each in parts}) == len(parts)
    for each in parts:
        assert (each.begin + each.last * each.step).date() == each.day
        assert each.begin + each.first * each.step >= each.begin
        assert count * each.step <= timedelta(days=days)


@pytest.mark.parametrize("fact", ["api_request", "store_event", "measurement"])
def test_what_a_fill_has_counted_is_what_it_has_stored(database: MigratedDatabase, fact: str) -> None:
    url = database.admin_url
    if fact == "api_request":
        api_requests.fill(url, EVENTS)
    elif fact == "store_event":
        store_events.fill(url, EVENTS)
    else:
        measurements.add_devices(url)
        measurements.fill(url, EVENTS, "1 + n % 7", "device_number <= 7")
    assert rows(database, f"SELECT count(*) FROM {fact}") == [(EVENTS,)]  # noqa: S608 - one of three
    assert "no drift" in run_command(database.writer_env, "verify-counts")
    rows(database, f"DELETE FROM {fact} WHERE ctid = (SELECT ctid FROM {fact} LIMIT 1)")  # noqa: S608
    with pytest.raises(AssertionError, match="drift"):
        run_command(database.writer_env, "verify-counts")
