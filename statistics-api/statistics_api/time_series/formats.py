"""A series as JSON or as CSV: `?format=`, or else what `Accept` prefers."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from fastapi import Request, Response

from servicekit.errors import Invalid
from servicekit.http.accept import preferred
from servicekit.http.openapi import query

CSV = "text/csv"
JSON = "application/json"
_MEDIA_TYPES: Mapping[str, str] = {"json": JSON, "csv": CSV}
# A cache that keeps one form must not give it to a client that wants the other.
_VARY = {"Vary": "Accept"}

FORMAT_PARAMETER = query("format", Literal["json", "csv"], "Default: what `Accept` prefers, and JSON.", example="json")
CSV_RESPONSE: dict[int | str, dict[str, Any]] = {
    200: {"content": {CSV: {"schema": {"type": "string"}}}, "description": "The series; as CSV, one line a point."}
}


def wants_csv(request: Request) -> bool:
    """Whether the client asks for CSV.

    Raises:
        Invalid: for something that is neither JSON nor CSV.
    """
    name = request.query_params.get("format")
    if name is None:
        return preferred(request.scope, (JSON, CSV)) == CSV
    if name not in _MEDIA_TYPES:
        raise Invalid.single(f"must be one of {', '.join(_MEDIA_TYPES)}", "query", "format")
    return _MEDIA_TYPES[name] == CSV


def json_series(body: bytes) -> Response:
    """A series in JSON."""
    return Response(body, headers=_VARY, media_type=JSON)


def csv_series(header: Sequence[str], rows: Iterable[Sequence[object]], *, name: str) -> Response:
    """A series in CSV (RFC 4180), to be saved as the file `name`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows(rows)
    # Starlette adds the charset.
    disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(text.getvalue(), headers=_VARY | disposition, media_type=f"{CSV}; header=present")


def local_times(instants: Iterable[datetime], zone: ZoneInfo) -> list[str]:
    """RFC 3339 as the clocks of `zone` show each instant."""
    return [_rfc_3339(instant.astimezone(zone)) for instant in instants]


def _rfc_3339(local: datetime) -> str:
    offset = local.utcoffset()
    if not offset:
        return local.replace(tzinfo=None).isoformat() + "Z"
    # Before 1972 some clocks differed by seconds from UTC, which RFC 3339 cannot say.
    whole = offset % timedelta(minutes=1) == timedelta(0)
    return local.isoformat() if whole else local.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
