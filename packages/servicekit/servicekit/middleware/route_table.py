"""The declared paths of a service, looked up by the path of a request."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from starlette.convertors import CONVERTOR_TYPES
from starlette.routing import compile_path
from starlette.types import Scope

from servicekit.http.paths import route_path


class DeclaredPath(NamedTuple):
    """One path of the OpenAPI document: as it is declared (`/devices/{device_id}`), and what its methods read."""

    template: str
    query_parameters: Mapping[str, frozenset[str]]  # by method

    @property
    def methods(self) -> list[str]:
        """The methods of this path, with OPTIONS, and with HEAD if it has GET."""
        return sorted({*self.query_parameters, "OPTIONS", *(["HEAD"] if self.has("GET") else [])})

    def has(self, method: str) -> bool:
        """Whether a route with this path and this method is declared."""
        return method in self.query_parameters


class Match(NamedTuple):
    """The declared path that a request's path fits, and what its parameters hold."""

    path: DeclaredPath
    parameters: dict[str, str]


class RouteTable:
    """The paths of an OpenAPI document, or of what servicekit.service.documentation knows of it before it is made."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.declared = [DeclaredPath(path, dict(_operations(item))) for path, item in document["paths"].items()]
        self._exact = {path.template: Match(path, {}) for path in self.declared if "{" not in path.template}
        self._patterns: list[tuple[re.Pattern[str], DeclaredPath]] = [
            (compile_path(path.template)[0], path) for path in self.declared if "{" in path.template
        ]

    def find(self, path: str, method: str) -> Match | None:
        """Return the declared path that fits `path`: first one without parameters, then the first that has `method`."""
        exact = self._exact.get(path)
        if exact is not None:
            return exact
        fits = [
            Match(declared, {name: _convert(value) for name, value in found.groupdict().items()})
            for pattern, declared in self._patterns
            if (found := pattern.match(path)) is not None
        ]
        return next((match for match in fits if match.path.has(method)), fits[0] if fits else None)

    def template_of(self, scope: Scope) -> str:
        """Return the template of the declared path of a request, or "" if there is none.

        NormalizationMiddleware has found it, unless a layer outside of it has answered the request.
        """
        if "route_template" not in scope:
            path = route_path(scope)
            match = None if path is None else self.find(path, scope["method"])
            scope["route_template"] = None if match is None else match.path.template
        return scope["route_template"] or ""

    def template_with(self, path: str) -> str:
        """Return the template that has any segment in place of the star of `path`, or "" if none is declared."""
        match = self.find(path.replace("*", "any"), "")
        return "" if match is None else match.path.template


_convert = CONVERTOR_TYPES["str"].convert


def _operations(item: Mapping[str, Any]) -> Iterator[tuple[str, frozenset[str]]]:
    for method, operation in item.items():
        names = [each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"]
        yield method.upper(), frozenset(names)
