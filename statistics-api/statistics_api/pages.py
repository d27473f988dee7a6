"""Pages of a list: how many elements are left out, and how many are shown."""

from collections.abc import Mapping
from typing import Annotated, NamedTuple

from pydantic import Field

from servicekit.http.openapi import query
from servicekit.http.query_parameters import read_number

LIMIT_DEFAULT = 50
LIMIT_MAX = 1_000
OFFSET_MAX = 100_000

PAGE_PARAMETERS = (
    query("offset", Annotated[int, Field(ge=0, le=OFFSET_MAX)], "How many are left out. Default: 0.", example=0),
    query(
        "limit",
        Annotated[int, Field(ge=1, le=LIMIT_MAX)],
        f"How many are shown. Default: {LIMIT_DEFAULT}.",
        example=LIMIT_DEFAULT,
    ),
)


class Page(NamedTuple):
    """A part of a list."""

    offset: int
    limit: int


def read_page(parameters: Mapping[str, str]) -> Page:
    """Return the page that a request asks for. Raises Invalid."""
    return Page(
        read_number(parameters, "offset", 0, 0, OFFSET_MAX),
        read_number(parameters, "limit", LIMIT_DEFAULT, 1, LIMIT_MAX),
    )
