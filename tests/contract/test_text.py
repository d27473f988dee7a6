"""Text and times as every family reads them: kinds of input, and the rules over all of them."""

import sys
import unicodedata
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from contract.text import Instant, QueryInstant, ShortText, ValidatedText, all_stripped, all_valid

TEXT = TypeAdapter(ShortText)
VALIDATED = TypeAdapter(ValidatedText)
INSTANT = TypeAdapter(Instant)
QUERY_INSTANT = TypeAdapter(QueryInstant)


def message_of(adapter: TypeAdapter[str] | TypeAdapter[datetime], value: object) -> str:
    with pytest.raises(ValidationError) as refused:
        adapter.validate_python(value)
    (error,) = refused.value.errors()
    return error["msg"].removeprefix("Value error, ")


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("u", "u"),
        ("  u\t", "u"),
        ("a  b", "a  b"),
        ("k" * 255, "k" * 255),
        ("😀" * 255, "😀" * 255),
        (" " + "k" * 255 + " ", "k" * 255),
        ("\u200bu", "\u200bu"),  # a character of zero width beside a visible one
        ("👩\u200d💻", "👩\u200d💻"),
        ("e\u0301", "e\u0301"),
        ("\u0301", "\u0301"),
        ("\ue000", "\ue000"),  # private use
        ("\U0010ffff", "\U0010ffff"),
    ],
    ids=ascii,
)
def test_a_text_is_taken(sent: str, read: str) -> None:
    assert TEXT.validate_python(sent) == read
    assert VALIDATED.validate_python(read) == read
    assert all_valid([read])


BLANK = ["", " ", "\t\n", "\xa0", "\u2003\u3000", "\u200b", "\u200b \u200b", "\u200c\u200d", "\u2060", "\ufeff", "\xad",
         "\u115f\u1160", "\u3164", "\uffa0", "\u2800", "\u034f", "\u180e", "\u202e", "\u2066\u2069", "\ufe0f",
         "\U000e0001", "\U000e0100", "\u17b4", "\u061c", "\u200b" * 255]  # fmt: skip


@pytest.mark.parametrize("sent", BLANK, ids=ascii)
def test_a_text_of_which_nothing_can_be_seen_is_blank(sent: str) -> None:
    assert message_of(TEXT, sent) in ("must not be blank", "String should have at least 1 character")
    with pytest.raises(ValidationError):
        VALIDATED.validate_python(sent)
    assert not all_valid([sent])
    assert not all_valid(["u", sent])


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        ("a\0b", "must not contain control characters"),
        ("a\x1b[31m", "must not contain control characters"),
        ("a\nb", "must not contain control characters"),
        ("é\x85é", "must not contain control characters"),
        ("\u200b\x7f\u200b", "must not contain control characters"),
        ("k" * 256, "String should have at most 255 characters"),
        ("\ud800", "Input should be a valid string, unable to parse raw data as a unicode string"),
        ("a\udfffb", "Input should be a valid string, unable to parse raw data as a unicode string"),
        (5, "Input should be a valid string"),
        (None, "Input should be a valid string"),
        (["u"], "Input should be a valid string"),
    ],
    ids=ascii,
)
def test_any_other_text_is_refused_with_the_reason(sent: object, why: str) -> None:
    assert message_of(TEXT, sent) == why
    if isinstance(sent, str):
        assert not all_valid([sent])


@given(st.lists(st.text(max_size=5), max_size=4))
def test_the_rule_for_many_texts_is_the_rule_for_one(texts: list[str]) -> None:
    one_by_one = []
    for text in texts:
        try:
            one_by_one.append(TEXT.validate_python(text))
        except ValidationError:
            break
    as_they_are = one_by_one == texts
    assert (all_stripped(texts) and all_valid(texts)) == as_they_are
    if as_they_are:
        assert TypeAdapter(list[ValidatedText]).validate_python(texts) == texts


@given(st.text(st.characters(categories=["Cc", "Zs", "Zl", "Zp"]) | st.sampled_from("".join(BLANK)), max_size=4))
def test_nothing_invisible_makes_a_text_by_being_repeated(text: str) -> None:
    with pytest.raises(ValidationError):
        TEXT.validate_python(text)


def test_of_the_format_characters_only_those_with_a_shape_are_a_text() -> None:
    formats = [each for each in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(each) == "Cf"]
    taken = {unicodedata.name(each).split()[0] for each in formats if all_valid([each])}
    assert taken == {"ARABIC", "SYRIAC", "KAITHI", "EGYPTIAN"}  # numbers, abbreviations, hieroglyphs


TIMES = {
    "2026-11-22T09:30:00Z": datetime(2026, 11, 22, 9, 30, tzinfo=UTC),
    "2026-11-22t09:30:00z": datetime(2026, 11, 22, 9, 30, tzinfo=UTC),
    "2026-11-22 09:30:00Z": datetime(2026, 11, 22, 9, 30, tzinfo=UTC),
    "2026-11-22T10:30:00+01:00": datetime(2026, 11, 22, 9, 30, tzinfo=UTC),
    "2026-11-22T09:30:00-00:00": datetime(2026, 11, 22, 9, 30, tzinfo=UTC),
    "2026-11-23T01:30:00+16:00": datetime(2026, 11, 22, 9, 30, tzinfo=UTC),
    "2026-11-23T09:29:00+23:59": datetime(2026, 11, 22, 9, 30, tzinfo=UTC),
    "2026-11-21T09:31:00-23:59": datetime(2026, 11, 22, 9, 30, tzinfo=UTC),
    "2026-11-22T09:30:59.5Z": datetime(2026, 11, 22, 9, 30, 59, 500_000, tzinfo=UTC),
    "2026-11-22T09:30:00.123456Z": datetime(2026, 11, 22, 9, 30, 0, 123_456, tzinfo=UTC),
    "2026-11-22T09:30:00.1234567Z": datetime(2026, 11, 22, 9, 30, 0, 123_456, tzinfo=UTC),
    "2026-11-22T09:30:59.999999999Z": datetime(2026, 11, 22, 9, 30, 59, 999_999, tzinfo=UTC),
    "2026-11-22T09:30:00." + "9" * 60_000 + "+01:00": datetime(2026, 11, 22, 8, 30, 0, 999_999, tzinfo=UTC),
    "2024-02-29T00:00:00Z": datetime(2024, 2, 29, tzinfo=UTC),
    "0001-01-01T00:00:00Z": datetime(1, 1, 1, tzinfo=UTC),
    "9999-12-31T23:59:59.999999Z": datetime.max.replace(tzinfo=UTC),
}


@pytest.mark.parametrize("sent", TIMES, ids=lambda sent: sent[:40])
def test_a_time_is_taken_and_is_in_utc(sent: str) -> None:
    read = INSTANT.validate_python(sent)
    assert read == TIMES[sent]
    assert read.utcoffset() == timedelta(0)
    assert QUERY_INSTANT.validate_python(sent) == read


FORM = "must be an RFC 3339 time with a zone, like 2026-11-22T09:30:00Z or 2026-11-22T10:30:00+01:00"
SECONDS = "seconds go from 00 to 59; a leap second is written as 59"
HOURS = "hours go from 00 to 23; midnight is 00:00:00 of the day that begins"
NO_TIMES = {
    "2016-12-31T23:59:60Z": SECONDS,
    "2016-12-31T23:59:60.5+01:00": SECONDS,
    "2026-11-22T09:30:61Z": SECONDS,
    "2026-11-22T24:00:00Z": HOURS,
    "2026-11-22T25:00:00Z": HOURS,
    "2026-11-22T09:60:00Z": "minutes go from 00 to 59",
    "2026-02-30T00:00:00Z": "Input should be a valid datetime or date, day value is outside expected range",
    "2026-13-01T00:00:00Z": "Input should be a valid datetime or date, month value is outside expected range of 1-12",
    "2026-11-22T09:30:00+24:00": FORM,
    "2026-11-22T09:30:00+01:60": FORM,
    "2026-11-22T09:30:00+0100": FORM,
    "2026-11-22T09:30:00+01": FORM,
    "2026-11-22T09:30:00": FORM,
    "2026-11-22T09:30Z": FORM,
    "2026-11-22T09:30:00.Z": FORM,
    "2026-11-22T09:30:00,5Z": FORM,
    "2026-11-22": FORM,
    "20261122T093000Z": FORM,
    "1767225600": FORM,
    "": FORM,
    " 2026-11-22T09:30:00Z": FORM,
    "2026-11-22T09:30:00Z\n": FORM,
    "٢٠٢٦-11-22T09:30:00Z": FORM,
    "12026-11-22T09:30:00Z": FORM,
    "\ud800": FORM,
    "0001-01-01T00:00:00+23:59": "must be a time of the years 1 to 9999 in UTC",
    "9999-12-31T23:59:59-00:01": "must be a time of the years 1 to 9999 in UTC",
}


@pytest.mark.parametrize("sent", NO_TIMES, ids=ascii)
def test_what_is_no_time_is_refused_in_plain_words(sent: str) -> None:
    assert message_of(INSTANT, sent) == NO_TIMES[sent]
    message_of(QUERY_INSTANT, sent)


@pytest.mark.parametrize("sent", [0, 1_767_225_600, 1.5, True, 10**400, float("inf")], ids=ascii)
def test_a_number_is_no_time(sent: object) -> None:
    assert "must be a string with an RFC 3339 time" in message_of(INSTANT, sent)


_ZONES = st.integers(-(24 * 60 - 1), 24 * 60 - 1).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(
    st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)),  # noqa: DTZ001 - hypothesis adds the zone
    _ZONES,
    st.sampled_from("Tt "),
    st.text("0123456789", max_size=12),
)
def test_every_form_of_every_time_is_that_instant(
    moment: datetime, zone: timezone, separator: str, digits: str
) -> None:
    meant = moment.replace(microsecond=int(digits[:6].ljust(6, "0")), tzinfo=zone)
    minutes = zone.utcoffset(None) // timedelta(minutes=1)
    offset = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
    fraction = f".{digits}" if digits else ""
    sent = f"{moment.year:04}-{moment:%m-%d}{separator}{moment:%H:%M:%S}{fraction}{offset}"

    assert INSTANT.validate_python(sent) == meant
    # In a query string, a plus that was not encoded arrives as a space.
    assert QUERY_INSTANT.validate_python(sent.replace("+", " ")) == meant


@pytest.mark.parametrize(
    "sent", ["2026-11-22T10:30:00 01:00", "2026-11-22 10:30:00 01:00", "2026-11-22 10:30:00.5 01:00"]
)
def test_only_in_a_query_string_is_a_space_a_plus(sent: str) -> None:
    assert QUERY_INSTANT.validate_python(sent).replace(microsecond=0) == datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
    assert FORM in message_of(INSTANT, sent)


@pytest.mark.parametrize(
    "sent", ["2026-11-22 10:30", "2026-11-22T10:30:00 1:00", "2026-11-22T10:30:00  01:00", " 01:00"]
)
def test_a_space_elsewhere_is_no_plus(sent: str) -> None:
    assert FORM in message_of(QUERY_INSTANT, sent)
