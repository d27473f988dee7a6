"""The totals of one project, with the responses, which are made once for all requests that share one query."""

from collections.abc import Mapping
from typing import NamedTuple

from fastapi import Response
from pydantic_core import to_json

from contract.auth_events.events import DeviceType
from servicekit.http.etag import strong_etag
from servicekit.protocol.direct_routes import DirectResponse


class Variant(NamedTuple):
    """The two responses to one question about the totals: the totals, and 304 for a client that has them already."""

    etag: str
    found: Response
    not_modified: Response
    # The same two for the direct route.
    direct_found: DirectResponse
    direct_not_modified: DirectResponse


class Totals:
    """The number of events of each device type, from one query."""

    def __init__(self, counts: Mapping[DeviceType, int]) -> None:
        self._counts = counts
        self._variants: dict[DeviceType | None, Variant] = {}

    def variant(self, device_type: DeviceType | None) -> Variant:
        """Return the responses for one device type, or for None those with all types and their sum."""
        made = self._variants.get(device_type)
        if made is None:
            made = self._variants[device_type] = self._make(device_type)
        return made

    def _make(self, device_type: DeviceType | None) -> Variant:
        counts = self._counts
        if device_type is not None:
            body = to_json({"deviceType": device_type, "count": counts[device_type]})
        else:
            each = [{"deviceType": device_type, "count": counts[device_type]} for device_type in sorted(counts)]
            body = to_json({"statistics": each, "total": sum(counts.values())})
        etag = strong_etag(body)
        headers = {"ETag": etag, "Cache-Control": "no-cache"}
        found = Response(body, headers=headers, media_type="application/json")
        not_modified = Response(status_code=304, headers=headers)
        return Variant(etag, found, not_modified, DirectResponse.of(found), DirectResponse.of(not_modified))
