"""A deadline survives the way to another process, and no header can move it beyond the service's own bound."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servicekit.errors import Invalid
from servicekit.http.deadline import from_header, to_header

SECONDS_MAX = 6.0


@given(st.floats(-1e6, SECONDS_MAX))
def test_a_deadline_arrives_as_it_was_sent(seconds: float) -> None:
    deadline = time.monotonic() + seconds

    assert from_header(to_header(deadline), seconds_max=SECONDS_MAX) == pytest.approx(deadline, abs=0.1)


@pytest.mark.parametrize("value", [None, "nan", "NaN", "inf", "1e308", "1e999", str(2**63)])
def test_no_header_or_one_without_an_end_is_the_services_own_bound(value: str | None) -> None:
    assert from_header(value, seconds_max=SECONDS_MAX) == pytest.approx(time.monotonic() + SECONDS_MAX, abs=0.1)


@pytest.mark.parametrize("value", ["0", "-1", "-1e308", "-inf", "1700000000"])
def test_what_is_over_is_over(value: str) -> None:
    assert from_header(value, seconds_max=SECONDS_MAX) < time.monotonic()


@pytest.mark.parametrize("value", ["", "soon", "2026-11-22T07:00:00Z", "1,5", "0x10"])
def test_what_is_no_number_is_refused(value: str) -> None:
    with pytest.raises(Invalid) as refusal:
        from_header(value, seconds_max=SECONDS_MAX)

    assert refusal.value.fields[0].loc == ("header", "X-Request-Deadline")


@given(st.text(max_size=20))
def test_any_text_is_a_bounded_deadline_or_refused(value: str) -> None:
    try:
        deadline = from_header(value, seconds_max=SECONDS_MAX)
    except Invalid:
        return
    assert deadline <= time.monotonic() + SECONDS_MAX
