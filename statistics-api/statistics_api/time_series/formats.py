"""A series or a list as JSON or as CSV: `?format=`, or else what `Accept` prefers."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from fastapi import Request, Response

from servicekit.errors import Invalid
from servicekit.http.accept import preferred
from servicekit.http.csv_text import csv_text
from servicekit.http.openapi import query
from statistics_api.access.documentation import VARY

CSV = "text/csv"
JSON = "application/json"
CSV_WITH_HEADER = f"{CSV}; header=present"  # Starlette adds the charset
_MEDIA_TYPES: Mapping[str, str] = {"json": JSON, "csv": CSV}
# A cache must not send the stored format to a client that prefers the other one, nor one project's series to another.
FORMATS_VARY = {"Vary": f"Accept, {VARY['Vary']}"}

FORMAT_PARAMETER = query("format", Literal["json", "csv"], "Default: what `Accept` prefers, and JSON.", example="json")
CSV_RESPONSE: dict[int | str, dict[str, Any]] = {
    200: {"content": {CSV: {"schema": {"type": "string"}}}, "description": "The series; as CSV, one line per point."}
}


def wants_csv(request: Request) -> bool:
    """Whether the client requests CSV.

    Raises:
        Invalid: the client requests a format that is neither JSON nor CSV.
    """
    name = request.query_params.get("format")
    if name is None:
        return preferred(request.scope, (JSON, CSV)) == CSV
    if name not in _MEDIA_TYPES:
        raise Invalid.single(f"must be one of {', '.join(_MEDIA_TYPES)}", "query", "format")
    return _MEDIA_TYPES[name] == CSV


def json_series(body: bytes) -> Response:
    """Return the response with a series in JSON."""
    return Response(body, headers=FORMATS_VARY, media_type=JSON)


def csv_series(header: Sequence[str], rows: Iterable[Sequence[object]], *, name: str) -> Response:
    """Return the response with a series in CSV, which browsers save as the file `name`."""
    return Response(csv_text([header, *rows]), headers=csv_headers(name), media_type=CSV_WITH_HEADER)


def csv_headers(name: str) -> dict[str, str]:
    """Return the headers of a response in CSV, which browsers save as the file `name`."""
    return FORMATS_VARY | {"Content-Disposition": f'attachment; filename="{name}"'}


def local_times(instants: Iterable[datetime], zone: ZoneInfo) -> list[str]:
    """Return each instant as an RFC 3339 time in the local time of `zone`."""
    return [_rfc_3339(instant.astimezone(zone)) for instant in instants]


def _rfc_3339(local: datetime) -> str:
    offset = local.utcoffset()
    if not offset:
        return local.replace(tzinfo=None).isoformat() + "Z"
    # Before 1972 some offsets from UTC had seconds, which RFC 3339 cannot express.
    whole = offset % timedelta(minutes=1) == timedelta(0)
    return local.isoformat() if whole else local.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
