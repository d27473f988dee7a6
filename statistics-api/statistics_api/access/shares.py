"""What the token of a share may do: read the figures of its view, and nothing else."""

import re
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

from fastapi import Request

from contract.shares import TOKEN_PATTERN, TOKEN_PREFIX, View, token_digest
from servicekit.database.lease import Lease
from servicekit.database.pool import Database
from servicekit.database.sql import fetch_all
from servicekit.errors import Forbidden, NotAuthenticated
from servicekit.process import clock
from statistics_api.access.key_cache import KeyCache

READ_SECONDS_MAX = 3.0
_TOKEN = re.compile(TOKEN_PATTERN)
# One sentence for every token that is refused: it tells nobody whether a share exists.
_NOT_VALID = "the share is not valid, or not any more"
_METRICS = "/api/v1/projects/{project_key}/metrics"
_FIGURES_OF_REQUESTS = ("summary", "endpoints", "endpoints/time-series", "time-series", "distribution")
_DEVICE = "/api/v1/stats/devices/{device_id}"
# The templates of the routes whose figures each view has. All of them read, and none has a row, a user or the name of
# a device; each has one method.
FIGURES: Mapping[View, tuple[str, ...]] = MappingProxyType(
    {
        View.AUTH_EVENTS: ("/Log/auth/statistics", "/Log/auth/timeseries", "/Log/auth/users"),
        View.REQUESTS: tuple(f"{_METRICS}/{name}" for name in _FIGURES_OF_REQUESTS),
        View.STORE_EVENTS: (
            "/api/event/types",
            "/api/event/amount/{type}",
            "/api/event/avg-time/{type}",
            "/api/event/users",
        ),
        View.DEVICE: (f"{_DEVICE}/series", f"{_DEVICE}/analyze"),
    }
)
SHARES = """
    SELECT project_id, share_id::text, project_key, project_name, timezone, shown_view, device_id, first_range,
           frame_ancestors, expires_at
      FROM stats.share
     WHERE digest = %(digest)s
"""


class StoredShare(NamedTuple):
    """A share of an active project, as it is stored; it may have expired."""

    project_id: int
    share_id: str
    project_key: str
    project_name: str
    timezone: str
    view: View
    device_id: str | None
    range: str | None
    frame_ancestors: list[str]
    expires_at: datetime | None


def new_share_cache(database: Database) -> KeyCache[StoredShare]:
    """Return the cache of a process, which `share_of` finds in `request.state.shares`."""

    async def read(digest: str) -> tuple[StoredShare, ...]:
        return await database.run(partial(_read, digest=bytes.fromhex(digest)), READ_SECONDS_MAX)

    return KeyCache(read)


def is_share_token(text: str) -> bool:
    """Whether a credential has the form of a share's token. It says nothing about whether it is valid."""
    return text.startswith(TOKEN_PREFIX)


async def share_of(shares: KeyCache[StoredShare], text: str) -> StoredShare:
    """Return the share with this token, as it was at most 30 seconds ago, or since it was ended.

    Raises:
        NotAuthenticated: it is malformed, there is none, it was ended, it has expired, or its project is inactive.
        NotRecorded: it is not remembered, and the database cannot be asked.
    """
    if not _TOKEN.fullmatch(text):
        raise NotAuthenticated(_NOT_VALID)  # the database is not asked for what nobody has been given
    # Whoever has the digest has the token: nothing else needs to be compared.
    for found in await shares.get(token_digest(text).hex()):
        if found.expires_at is None or clock.now() < found.expires_at:
            return found
    raise NotAuthenticated(_NOT_VALID)


def check_shown(request: Request, share: StoredShare) -> None:
    """Return if the route of a request has figures of the share's view. Raises Forbidden."""
    path = request.scope["route_template"]
    is_its_device = share.view is not View.DEVICE or request.path_params.get("device_id") == share.device_id
    if path not in FIGURES[share.view] or not is_its_device:
        raise Forbidden(f"a share of the view {share.view} does not show this")


def _read(lease: Lease, digest: bytes) -> tuple[StoredShare, ...]:
    with lease.transaction() as conn:
        return tuple(fetch_all(conn, SHARES, {"digest": digest}, _share))


def _share(*values: object) -> StoredShare:
    share = StoredShare(*values)  # type: ignore[arg-type]  # the columns have its types
    return share._replace(view=View(share.view))
