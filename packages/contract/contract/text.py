"""Text and times as every family accepts them. Rules stated here are not repeated in a router."""

import re
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, ConfigDict, StringConstraints
from pydantic.alias_generators import to_camel

TEXT_CHARACTERS_MAX = 255

# RFC 3339, section 5.6, without the leap second that no clock of ours produces. The zone is required: a naive
# time means another instant on every machine that reads it.
_RFC_3339 = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:[Zz]|[+-]\d{2}:\d{2})", re.ASCII)
# Unicode category Cc. Lone surrogates never get here: the JSON parser refuses them.
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f-\x9f]")

# How the documents of family 1 write their fields: camelCase on the wire, snake_case in Python.
CAMEL_CASE = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


def _only_rfc_3339(value: Any) -> Any:  # noqa: ANN401 - pydantic hands over whatever the client sent
    """Pydantic alone would also take 0, "0" and "2026-11-22" for a time."""
    if isinstance(value, str) and not _RFC_3339.fullmatch(value):
        message = "must be an RFC 3339 time with a zone, like 2026-11-22T09:30:00Z or 2026-11-22T10:30:00+01:00"
        raise ValueError(message)
    if isinstance(value, int | float):
        message = "must be a string with an RFC 3339 time, like 2026-11-22T09:30:00Z"
        raise ValueError(message)  # noqa: TRY004 - pydantic turns a ValueError, not a TypeError, into a 422
    return value


def _no_control_characters(value: str) -> str:
    if _CONTROL_CHARACTER.search(value):
        message = "must not contain control characters"
        raise ValueError(message)
    return value


Instant: TypeAlias = Annotated[AwareDatetime, BeforeValidator(_only_rfc_3339)]

# 1 to 255 characters once the surrounding white space is gone; case and everything inside are kept.
ShortText: TypeAlias = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=TEXT_CHARACTERS_MAX),
    AfterValidator(_no_control_characters),
]

# The same text once it was accepted: checked again by the writer, in one pass that no Python function slows down.
ValidatedText: TypeAlias = Annotated[
    str, StringConstraints(min_length=1, max_length=TEXT_CHARACTERS_MAX, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")
]


def all_valid(texts: list[str]) -> bool:
    """Whether each is an ValidatedText, in a few passes over all of them that no Python code is run for."""
    if not texts:
        return True
    lengths = set(map(len, texts))
    if min(lengths) < 1 or max(lengths) > TEXT_CHARACTERS_MAX:
        return False
    together = "".join(texts)
    # No control character is printable, so mostly there is nothing to search for.
    return together.isprintable() or _CONTROL_CHARACTER.search(together) is None


def all_stripped(texts: list[str]) -> bool:
    """Whether ShortText would take none of them for surrounded by white space."""
    # Python knows four separators more than pydantic, U+001C to U+001F: control characters, which are refused anyway.
    return texts == list(map(str.strip, texts))
