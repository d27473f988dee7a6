"""The pages, their files, and the session of a browser. They are no part of the API, and not of its document."""

import asyncio
from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request, Response
from pydantic_core import to_json

from servicekit.errors import PathNotFound
from statistics_api.access.sessions import SessionKind
from statistics_api.administration.relaying import NOT_STORED
from statistics_api.dashboard import assets
from statistics_api.dashboard.pages import SECURITY, page
from statistics_api.dashboard.screens import SCREENS, Screen
from statistics_api.dashboard.sessions import log_in, log_out, own_project, sessions_of

router = APIRouter(include_in_schema=False)


async def _show(screen: Screen, request: Request) -> Response:
    sessions = await sessions_of(request)
    is_public: bool = request.state.dashboard_public
    is_open = sessions.may_open(screen) or (screen.may_be_public and is_public)
    content = {
        "screen": screen,
        "screens": SCREENS,
        "sessions": sorted(kind.value for kind in sessions.kinds),
        "is_operator": sessions.is_operator,
        "asks_for": sorted(kind.value for kind in screen.opened_by),
        "has_too_few_scopes": bool(screen.opened_by & sessions.kinds),
    }
    # In a thread: the first page imports Jinja2 and reads the files, which takes some 50 ms.
    template = f"{screen.name}.html" if is_open else "login.html"
    return await asyncio.to_thread(page, template, content)


def _endpoint(screen: Screen) -> Callable[[Request], Awaitable[Response]]:
    async def show(request: Request) -> Response:
        """The screen, or the log-in in its place: once logged in, the browser loads the same URL again."""
        return await _show(screen, request)

    return show


for each in SCREENS:
    router.add_api_route(each.route, _endpoint(each), methods=["GET"], name=each.name)


@router.get("/dashboard/static/{version}/{name:path}")
async def static_file(request: Request, version: str, name: str) -> Response:
    """A file that a page loads."""
    found = (await asyncio.to_thread(assets.assets)).files.get(name)
    if found is None:
        raise PathNotFound("Not Found")
    return assets.respond(request, found, version, SECURITY)


@router.get("/dashboard/session")
async def session(request: Request) -> Response:
    """Which sessions the browser has."""
    sessions = await sessions_of(request)
    content = {kind.value: kind in sessions.kinds for kind in SessionKind}
    return Response(to_json(content), headers=NOT_STORED, media_type="application/json")


router.add_api_route("/dashboard/session/project", own_project, methods=["GET"])
router.add_api_route("/dashboard/session", log_in, methods=["POST"])
router.add_api_route("/dashboard/session", log_out, methods=["DELETE"])
