"""Text and times as every family accepts them. Rules stated here are not repeated in a router."""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, ConfigDict, StringConstraints
from pydantic.alias_generators import to_camel

TEXT_CHARACTERS_MAX = 255

Value = TypeVar("Value")
Parsed = TypeVar("Parsed")

# How the documents of family 1 write their fields: camelCase on the wire, snake_case in Python.
CAMEL_CASE = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)

# RFC 3339, section 5.6. The zone is required: without it, the instant would depend on the machine that reads the time.
_RFC_3339 = re.compile(
    r"(?P<to_the_second>\d{4}-\d{2}-\d{2}[Tt ](?P<hour>\d{2}):(?P<minute>\d{2}):(?P<second>\d{2}))(?P<fraction>\.\d+)?"
    r"(?P<zone>[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)
# For these errors, pydantic's message is only "unexpected extra characters".
_CLOCK = {
    "hour": (23, "hours go from 00 to 23; midnight is 00:00:00 of the day that begins"),
    "minute": (59, "minutes go from 00 to 59"),
    "second": (59, "seconds go from 00 to 59; a leap second is written as 59"),
}
_FRACTION_CHARACTERS_MAX = len(".123456")
# A time that has everything but the zone.
_WITHOUT_ZONE = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(?:\.\d+)?", re.ASCII)
# Only a zone can end like this. In a query string, `+` stands for a space, unless it is written as `%2B`.
_BARE_PLUS = re.compile(r" (?=\d{2}:\d{2}\Z)", re.ASCII)

# Unicode category Cc, in the syntax of Python's expressions and of pydantic's.
_CONTROL = r"\x00-\x1f\x7f-\x9f"
# Characters that are invisible on a screen: control characters, white space, the characters that Unicode calls default
# ignorable, with all of zero width, and the blank of Braille.
_INVISIBLE = (
    _CONTROL + r"\x20\xa0\xad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f"
    r"\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3"
    r"\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_CONTROL_CHARACTER = re.compile(f"[{_CONTROL}]")
_CONTROL_OR_SURROGATE = re.compile(rf"[{_CONTROL}\ud800-\udfff]")
_VISIBLE_CHARACTER = re.compile(f"[^{_INVISIBLE}]")


def _rfc_3339(value: Any) -> Any:  # noqa: ANN401 - pydantic hands over whatever the client sent
    """Check that a time is in RFC 3339: without this check, pydantic would also accept 0, "0" and "2026-11-22".

    A fraction of a second is cut after the microseconds.
    """
    if isinstance(value, int | float):
        message = "must be a string with an RFC 3339 time, like 2026-11-22T09:30:00Z"
        raise ValueError(message)  # noqa: TRY004 - pydantic turns a ValueError, not a TypeError, into a 422
    if not isinstance(value, str):
        return value
    parts = _RFC_3339.fullmatch(value)
    if parts is None:
        message = "must be an RFC 3339 time with a zone, like 2026-11-22T09:30:00Z or 2026-11-22T10:30:00+01:00"
        raise ValueError(message)
    for part, (largest, message) in _CLOCK.items():
        if int(parts[part]) > largest:
            raise ValueError(message)
    return parts["to_the_second"] + (parts["fraction"] or "")[:_FRACTION_CHARACTERS_MAX] + parts["zone"]


def _in_utc(value: datetime) -> datetime:
    """Return the same instant in UTC: RFC 3339 allows offsets of 16 hours or more, which PostgreSQL refuses."""
    try:
        return value.astimezone(UTC)
    except OverflowError:
        message = "must be a time of the years 1 to 9999 in UTC"
        raise ValueError(message) from None


def _utc_without_zone(value: Any) -> Any:  # noqa: ANN401 - pydantic hands over whatever the client sent
    return f"{value}Z" if isinstance(value, str) and _WITHOUT_ZONE.fullmatch(value) else value


def _plus_restored(value: Any) -> Any:  # noqa: ANN401 - pydantic hands over whatever the client sent
    return _BARE_PLUS.sub("+", value) if isinstance(value, str) else value


def readable(value: str) -> str:
    """Return a text that has a visible character and no control character.

    Raises:
        ValueError: it is blank, or has a control character.
    """
    # True for nearly every text: printable ASCII without surrounding spaces is visible.
    if value.isascii() and value.isprintable():
        return value
    if _CONTROL_CHARACTER.search(value):
        message = "must not contain control characters"
        raise ValueError(message)
    if not _VISIBLE_CHARACTER.search(value):
        message = "must not be blank"
        raise ValueError(message)
    return value


# A time with a zone, with any offset up to 23:59; it is converted to UTC.
Instant: TypeAlias = Annotated[AwareDatetime, BeforeValidator(_rfc_3339), AfterValidator(_in_utc)]

# The same in a query string, where the plus of an offset often arrives as a space.
QueryInstant: TypeAlias = Annotated[Instant, BeforeValidator(_plus_restored)]

# The same two where a time without a zone is one of UTC: family 2 alone, whose clients send such times.
UtcInstant: TypeAlias = Annotated[Instant, BeforeValidator(_utc_without_zone)]
UtcQueryInstant: TypeAlias = Annotated[QueryInstant, BeforeValidator(_utc_without_zone)]

# 1 to 255 characters after the surrounding white space is removed; not all of them are invisible, and none is a control
# character. Case and inner white space are kept. Pydantic itself refuses a text that is not Unicode.
ShortText: TypeAlias = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=TEXT_CHARACTERS_MAX),
    AfterValidator(readable),
]

# What the private service checks of any accepted text, in one pass.
READABLE_PATTERN = f"^[^{_CONTROL}]*[^{_INVISIBLE}][^{_CONTROL}]*$"

# The same text after it was accepted: the private service checks it again, in one pass without a Python function.
ValidatedText: TypeAlias = Annotated[
    str,
    StringConstraints(min_length=1, max_length=TEXT_CHARACTERS_MAX, pattern=READABLE_PATTERN),
]


def parsed_once(parse: Callable[[Value], Parsed], values: Sequence[Value]) -> list[Parsed]:
    """Return a column of which many values are equal, and each different one is parsed once. Raises as `parse`."""
    parsed = {value: parse(value) for value in dict.fromkeys(values)}
    return [parsed[value] for value in values]


def all_valid(texts: list[str]) -> bool:
    """Whether each text is a ValidatedText. The few passes over all texts run no Python code per text."""
    if not texts:
        return True
    lengths = set(map(len, texts))
    if min(lengths) < 1 or max(lengths) > TEXT_CHARACTERS_MAX:
        return False
    together = "".join(texts)
    # Control characters and surrogates are not printable, so the search is usually skipped.
    if not together.isprintable() and _CONTROL_OR_SURROGATE.search(together):
        return False
    # In ASCII, a space is the only invisible character that is left.
    return (together.isascii() and " " not in together) or all(map(_VISIBLE_CHARACTER.search, texts))


def all_stripped(texts: list[str]) -> bool:
    """Whether no text has surrounding white space that ShortText would remove."""
    # Python also strips U+001C to U+001F, which pydantic does not: control characters, which are refused anyway.
    return texts == list(map(str.strip, texts))
