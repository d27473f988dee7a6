"""What the application serves of one family of routes: it is assembled from a list of these."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from fastapi import APIRouter

from servicekit.database.pool import Database
from servicekit.protocol.direct_routes import DirectRoute
from statistics_api.delivery.kinds import EventKind


class Family(NamedTuple):
    """Routes with the kinds of event that they record, and what they read with.

    `new_reader` is called once in each process. The routes find what it returned in `request.state.readers`, under the
    family's name. `large_bodies` has the bytes of each route whose body may be larger than others; `direct_routes` are
    shorter ways to some of the routes.
    """

    name: str
    router: APIRouter
    kinds: Sequence[EventKind[Any]]
    large_bodies: Mapping[str, int]
    new_reader: Callable[[Database], object]
    direct_routes: Sequence[DirectRoute[Any]] = ()
