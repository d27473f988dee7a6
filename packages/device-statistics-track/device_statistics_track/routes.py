"""The route template of a request, which is what its framework left in the scope or the environment.

No framework is imported: what is read here are attributes, and their absence means that no route matched.
"""

import re
from collections.abc import Mapping, MutableMapping
from typing import Any

_PARAMETER = re.compile(r"\{(\w+)(?::[^}]*)?\}")


def asgi_template(scope: MutableMapping[str, Any]) -> str | None:
    """Return the template of Starlette or FastAPI with the templates of the mounts around it, None without a match."""
    route = scope.get("route")
    # A mount leaves the root path of the whole application in the scope, and extends `root_path` by its own.
    before: str | None = scope.get("app_root_path")
    after: str = scope.get("root_path", "")
    mounted = after[len(before) :] if before is not None and after.startswith(before) else ""
    if _is_mount(route) or (route is None and mounted):
        # Nothing matched inside of it, as in a mount of static files. Its own path is the last part of the root path.
        own: str | None = "/{path}"
    else:
        own = _own_template(scope, route)
    return None if own is None else _with_names(mounted, scope.get("path_params") or {}, own) + own


def wsgi_template(environ: Mapping[str, Any], script_name: str) -> str | None:
    """Return the rule of Flask or Werkzeug, behind the mounts between `script_name` and the application.

    Flask forgets the request before the response is sent, so this is called when the response starts.
    """
    rule = getattr(getattr(environ.get("werkzeug.request"), "url_rule", None), "rule", None)
    if rule is None:
        return None
    mounted: str = environ.get("SCRIPT_NAME", "")
    return f"{mounted[len(script_name) :] if mounted.startswith(script_name) else ''}{rule}"


def _own_template(scope: MutableMapping[str, Any], route: object) -> str | None:
    """Return the template of the route alone.

    FastAPI since 0.138 keeps the routes of an included router as they were written, without the prefix of the
    inclusion. The whole template is in a context beside the route.
    """
    context = (scope.get("fastapi") or {}).get("effective_route_context")
    if context is not None and getattr(context, "original_route", None) is route:
        whole = getattr(context, "path_format", None)
        if isinstance(whole, str):
            return whole
    for name in ("path_format", "path"):
        template = getattr(route, name, None)
        if isinstance(template, str):
            return template
    return None


def _is_mount(route: object) -> bool:
    return hasattr(route, "path_format") and hasattr(route, "routes") and not hasattr(route, "methods")


def _with_names(prefix: str, parameters: Mapping[str, object], own: str) -> str:
    """Put the names of the mounts' parameters into a path that holds their values.

    A value that stands twice in the path is replaced where it stands last, because fixed parts tend to come first.
    """
    inner = set(_PARAMETER.findall(own))
    segments = prefix.split("/")
    for name, value in reversed(list(parameters.items())):
        if name not in inner:
            for index in range(len(segments) - 1, -1, -1):
                if segments[index] == str(value):
                    segments[index] = f"{{{name}}}"
                    break
    return "/".join(segments)
