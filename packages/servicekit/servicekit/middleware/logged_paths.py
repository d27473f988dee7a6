"""What the request log has of a path: of one with personal data in it, the template of the route alone."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from starlette.types import Scope

from servicekit.http.paths import route_path
from servicekit.middleware.route_table import RouteTable

LoggedPath: TypeAlias = Callable[[Scope], str]

# No route has the path, so that nothing says which part of it is personal.
NOT_SHOWN = "/{not shown}"
# An e-mail address has one of these, wherever a client has put it by mistake.
_AT_SIGNS = ("@", "%40")


def logged_path_of(routes: RouteTable, personal_paths: Sequence[str]) -> LoggedPath:
    """Return the function for an application's routes; paths below one of `personal_paths` have personal data."""
    prefixes = tuple(personal_paths)

    def logged_path(scope: Scope) -> str:
        path: str = scope["path"]
        if not path.startswith(prefixes) and not any(sign in path for sign in _AT_SIGNS):
            return path
        routed = route_path(scope)
        match = None if routed is None else routes.find(routed, scope["method"])
        return NOT_SHOWN if match is None else match.path.template

    return logged_path
