"""Errors of the pages, for people: a browser that asks for a page gets a page, and everybody else the usual JSON."""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contract.shares import PAGE_PREFIX
from servicekit.http.accept import preferred
from statistics_api.dashboard.pages import page

_PREFIXES = ("/dashboard/", PAGE_PREFIX)
# What a browser needs of the answer that the page replaces.
_KEPT = {b"allow", b"retry-after"}
_SENTENCES: Mapping[HTTPStatus, str] = MappingProxyType(
    {
        HTTPStatus.NOT_FOUND: "There is no page at this address.",
        HTTPStatus.METHOD_NOT_ALLOWED: "This address takes no such request.",
        HTTPStatus.TOO_MANY_REQUESTS: "There were too many requests from your address. Please try again later.",
        HTTPStatus.SERVICE_UNAVAILABLE: "The server cannot answer at the moment. This page tries again by itself.",
        HTTPStatus.INTERNAL_SERVER_ERROR: "The server has made a mistake. Please load the page again.",
    }
)
_OTHER = "The server has refused the request."


class ErrorPagesMiddleware:
    """Replaces the JSON of an error below `/dashboard` and `/shared` where the client prefers HTML.

    What the protocol class refuses by itself, because of load or of a malformed head, does not come here.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or not _is_for_a_page(scope):
            await self._app(scope, receive, send)
            return
        replaced: Message | None = None

        async def send_page(message: Message) -> None:
            nonlocal replaced
            if message["type"] == "http.response.start" and _is_json_error(message):
                replaced = message
            elif replaced is None:
                await send(message)
            elif not message.get("more_body", False):
                await _send_page(scope, receive, send, replaced)

        await self._app(scope, receive, send_page)


def _is_for_a_page(scope: Scope) -> bool:
    path: str = scope["path"]
    is_below = f"{path}/".startswith(_PREFIXES)
    return (
        is_below
        and scope["method"] in {"GET", "HEAD"}
        and preferred(scope, ("application/json", "text/html")) == "text/html"
    )


def _is_json_error(start: Message) -> bool:
    kind = dict(start.get("headers", ())).get(b"content-type", b"")
    return start["status"] >= HTTPStatus.BAD_REQUEST and b"json" in kind


async def _send_page(scope: Scope, receive: Receive, send: Send, replaced: Message) -> None:
    status = HTTPStatus(replaced["status"])
    content = {
        "title": status.phrase,
        "sentence": _SENTENCES.get(status, _OTHER),
        "request_id": scope.get("request_id"),
        "tries_again": status is HTTPStatus.SERVICE_UNAVAILABLE,
        "leads_to": None if scope["path"].startswith(PAGE_PREFIX) else "/dashboard",
    }
    kept = {name.decode(): value.decode() for name, value in replaced["headers"] if name in _KEPT}
    response = await asyncio.to_thread(page, "refusal.html", content, status, {**kept, "Vary": "Accept"})
    await response(scope, receive, send)
