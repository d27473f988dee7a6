"""The response to a client that agreed to be counted later (RFC 7240), while the first database is away.

Its event is stored in the inbox of the private service (docs/inbox.md). A client that did not agree gets a 503, because
the documents of the routes promise that an event is counted when it is answered.
"""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from fastapi import Response

from contract.delivery import AcceptedNotCounted, BatchAcceptedNotCounted, BatchResult
from contract.inbox import RESPOND_ASYNC
from servicekit.http.openapi import schema_of
from servicekit.http.prefer import prefers

PREFER_HEADER = "Prefer"
ACCEPTED_BODY = AcceptedNotCounted().model_dump_json().encode()
_APPLIED = {"Preference-Applied": RESPOND_ASYNC}

ACCEPTED_RESPONSES: dict[str, Any] = {
    "202": {
        "description": "Stored and not counted yet: only with `Prefer: respond-async`, and while the database is away",
        "headers": {
            "Preference-Applied": {"description": "The preference.", "schema": {"type": "string"}},
        },
        "content": {"application/json": {"schema": schema_of(AcceptedNotCounted | BatchAcceptedNotCounted)}},
    }
}


def is_deferrable(lines: Iterable[str]) -> bool:
    """Whether a client agrees that its events are counted later, by the lines of its header `Prefer`."""
    return prefers(lines, RESPOND_ASYNC)


def accepted_response(rejected: Mapping[int, str] = MappingProxyType({})) -> Response:
    """Return the response to events that are in the inbox; `rejected` has the reasons for other items of the batch."""
    body = ACCEPTED_BODY
    if rejected:
        results = [BatchResult(index=index, status="rejected", detail=reason) for index, reason in rejected.items()]
        body = BatchAcceptedNotCounted(rejected=len(results), results=results).model_dump_json().encode()
    return Response(body, HTTPStatus.ACCEPTED, _APPLIED, media_type="application/json")
