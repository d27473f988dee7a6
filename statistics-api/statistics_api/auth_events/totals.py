"""The totals of one project, and the responses that are made of them once for all requests that share a query."""

from collections.abc import Mapping
from functools import cached_property

from fastapi import Response
from pydantic_core import to_json

from contract.auth_events.events import DeviceType
from servicekit.http.etag import strong_etag
from servicekit.protocol.direct_routes import DirectResponse
from statistics_api.access.documentation import VARY


class Answer:
    """The answer to one question about the totals; each form of it is made when the first request needs it."""

    def __init__(self, body: bytes, project_id: int) -> None:
        self._body = body
        # The same counts of two projects are two answers: a cache must not take one for the other.
        self.etag = strong_etag(b"%d %b" % (project_id, body))
        self._headers = {"ETag": self.etag, "Cache-Control": "no-cache", **VARY}

    @cached_property
    def found(self) -> Response:
        """For a client that does not have it yet."""
        return Response(self._body, headers=self._headers, media_type="application/json")

    @cached_property
    def not_modified(self) -> Response:
        """For a client that has it."""
        return Response(status_code=304, headers=self._headers)

    @cached_property
    def direct_found(self) -> DirectResponse:
        """`found`, for the direct route."""
        return DirectResponse.of(self.found)

    @cached_property
    def direct_not_modified(self) -> DirectResponse:
        """`not_modified`, for the direct route."""
        return DirectResponse.of(self.not_modified)


class Totals:
    """The number of events of each device type, as one query found them."""

    def __init__(self, counts: Mapping[DeviceType, int], project_id: int) -> None:
        self._counts = counts
        self._project_id = project_id
        self._answers: dict[DeviceType | None, Answer] = {}

    def answer(self, device_type: DeviceType | None) -> Answer:
        """Return the answer for one device type; None stands for all of them and their sum."""
        made = self._answers.get(device_type)
        if made is None:
            made = self._answers[device_type] = Answer(self._body(device_type), self._project_id)
        return made

    def _body(self, device_type: DeviceType | None) -> bytes:
        counts = self._counts
        if device_type is not None:
            return to_json({"deviceType": device_type, "count": counts[device_type]})
        each = [{"deviceType": device_type, "count": counts[device_type]} for device_type in sorted(counts)]
        return to_json({"statistics": each, "total": sum(counts.values())})
