"""The page of a share: one view, for whoever has its link. It has no session: the share's token asks the API."""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType

from fastapi import APIRouter, Request, Response

from contract.shares import PAGE_PREFIX, View
from servicekit.errors import NotAuthenticated, NotRecorded
from statistics_api.access.shares import StoredShare, share_of
from statistics_api.dashboard.pages import embeddable_by, page

router = APIRouter(include_in_schema=False)
# The screen and the title of each view.
_SCREENS: Mapping[View, tuple[str, str]] = MappingProxyType(
    {
        View.AUTH_EVENTS: ("overview", "Auth events"),
        View.REQUESTS: ("requests", "API requests"),
        View.STORE_EVENTS: ("store", "Store events"),
        View.DEVICE: ("devices", "Device"),
    }
)
_GONE = "This link is not valid, or not any more. Ask the person who gave it to you for a new one."
_AWAY = "The server cannot look up this link at the moment. This page tries again by itself."


@router.get(PAGE_PREFIX + "{token:path}")
async def shared(request: Request, token: str) -> Response:
    """The view of a share, or the page that says why there is none: a browser that has a link can read nothing else."""
    try:
        share = await share_of(request.state.shares, token)
    except NotAuthenticated:
        # The same for every link: nobody learns whether a share has ever existed.
        gone = {"title": "Nothing is shared here", "sentence": _GONE, "request_id": None, "tries_again": False}
        return await _refusal(HTTPStatus.NOT_FOUND, gone, {})
    except NotRecorded as error:
        request_id = request.scope.get("request_id")
        not_now = {"title": "Not now", "sentence": _AWAY, "request_id": request_id, "tries_again": True}
        return await _refusal(error.status, not_now, error.headers())
    name, title = _SCREENS[share.view]
    content = {
        "screen": {"name": name, "title": f"{title} · {share.project_name}"},
        "screens": (),
        "sessions": (),
        "is_operator": False,
        "share": _seen_by_the_page(share, token),
    }
    # In a thread, as every page: the first one takes some 50 ms.
    return await asyncio.to_thread(page, f"{name}.html", content, HTTPStatus.OK, embeddable_by(share.frame_ancestors))


def _seen_by_the_page(share: StoredShare, token: str) -> Mapping[str, object]:
    names = ("project_key", "project_name", "timezone", "device_id", "range")
    return {"token": token, **{name: getattr(share, name) for name in names}}


async def _refusal(status: HTTPStatus, content: Mapping[str, object], headers: Mapping[str, str]) -> Response:
    return await asyncio.to_thread(page, "refusal.html", {**content, "leads_to": None}, status, headers)
