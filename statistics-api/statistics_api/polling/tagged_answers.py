"""Answers with an entity tag, made of one query for all requests that share it."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from fastapi import Request, Response

from servicekit.http.etag import is_current, matches, strong_etag
from servicekit.protocol.direct_routes import DirectResponse
from statistics_api.access.documentation import VARY

ETAG_HEADER = {"ETag": {"description": "It changes whenever the response changes.", "schema": {"type": "string"}}}
IF_NONE_MATCH = {"name": "If-None-Match", "in": "header", "required": False, "schema": {"type": "string"}}
NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "The response that you have is current"}}


class TaggedAnswer:
    """The answer to one question about a project; each form of it is made when the first request needs it."""

    def __init__(
        self,
        body: bytes,
        project_id: int,
        *,
        media_type: str = "application/json",
        headers: Mapping[str, str] = VARY,
    ) -> None:
        self.body = body
        self._media_type = media_type
        # Equal bodies of two projects are two answers: a cache must not take one for the other.
        self.etag = strong_etag(b"%d %b" % (project_id, body))
        self._headers = {"ETag": self.etag, "Cache-Control": "no-cache", **headers}

    def respond(self, request: Request) -> Response:
        """Return the answer, or a 304 for a client that has it."""
        return self.not_modified if is_current(request.scope, self.etag) else self.found

    def respond_directly(self, if_none_match: bytes | None) -> DirectResponse:
        """Return the same on a direct route, for the one line of `If-None-Match` that came, if any."""
        has_it = if_none_match is not None and matches(if_none_match.decode("latin-1"), self.etag)
        return self.direct_not_modified if has_it else self.direct_found

    @cached_property
    def found(self) -> Response:
        """For a client that does not have it yet."""
        return Response(self.body, headers=self._headers, media_type=self._media_type)

    @cached_property
    def not_modified(self) -> Response:
        """For a client that has it."""
        return Response(status_code=304, headers=self._headers)

    @cached_property
    def direct_found(self) -> DirectResponse:
        """`found`, for a direct route."""
        return DirectResponse.of(self.found)

    @cached_property
    def direct_not_modified(self) -> DirectResponse:
        """`not_modified`, for a direct route."""
        return DirectResponse.of(self.not_modified)
