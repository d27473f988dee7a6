"""A family of routes; the application is assembled from a list of families."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from fastapi import APIRouter

from servicekit.database.pool import Database
from servicekit.protocol.direct_routes import DirectRoute
from statistics_api.delivery.kinds import EventKind


class Family(NamedTuple):
    """The routes of a family, the kinds of event that they record, and the reader that they use, if there are any.

    `new_reader` is called once in each process. The routes find its result in `request.state.readers`, under the
    family's name. `large_bodies` maps each route with a larger body limit to that limit, in bytes. `direct_routes`
    answer the ordinary requests of some routes. `personal_paths` are the prefixes of the paths that have personal data
    in them, which no log may have.
    """

    name: str
    router: APIRouter
    kinds: Sequence[EventKind[Any]] = ()
    large_bodies: Mapping[str, int] = MappingProxyType({})
    new_reader: Callable[[Database], object] | None = None
    direct_routes: Sequence[DirectRoute[Any]] = ()
    personal_paths: Sequence[str] = ()
