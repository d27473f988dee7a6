"""The totals of one project, and the responses that are made of them once for all who share one query."""

from collections.abc import Mapping
from typing import NamedTuple

from fastapi import Response
from pydantic_core import to_json

from contract.auth_events.events import DeviceType
from servicekit.http.etag import strong_etag
from servicekit.protocol.direct_routes import DirectResponse


class Variant(NamedTuple):
    """The answer to one question about the totals: for a client that has it already, and for one that has not."""

    etag: str
    found: Response
    not_modified: Response
    # The same two for the direct way.
    direct_found: DirectResponse
    direct_not_modified: DirectResponse


class Totals:
    """How many events of each device type, as one query found them."""

    def __init__(self, counts: Mapping[DeviceType, int]) -> None:
        self._counts = counts
        self._variants: dict[DeviceType | None, Variant] = {}

    def variant(self, device_type: DeviceType | None) -> Variant:
        """The responses for one device type; None stands for all of them and their sum."""
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
