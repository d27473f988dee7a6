"""Forgets a key, a project, a device or a share as soon as the database says that it has changed.

Without a notification, what is remembered is at most 30 seconds old (key_cache.py): the connection that listens may be
lost at any time, and does no harm.
"""

import asyncio
from collections.abc import Callable
from functools import partial

from servicekit.database.listener import Listener
from statistics_api.access.key_cache import KeyCache
from statistics_api.access.projects import ProjectCaches
from statistics_api.access.queries import StoredKey
from statistics_api.access.shares import StoredShare

# The triggers send `key ID`, `project NUMBER KEY`, `share DIGEST`, or `device NUMBER ID`: of the project, and the
# client's own id.
CHANNEL = "access_changed"


def new_listener(
    dsn: str,
    keys: KeyCache[StoredKey],
    projects: ProjectCaches,
    shares: KeyCache[StoredShare],
    forget_device: Callable[[str, str], None],
) -> Listener:
    """Return a listener that is not started; what it receives is handled in the running event loop."""
    loop = asyncio.get_running_loop()
    forget = partial(forget_changed, keys=keys, projects=projects, shares=shares, forget_device=forget_device)
    return Listener(dsn, CHANNEL, lambda payload: loop.call_soon_threadsafe(forget, payload))


def forget_changed(
    payload: str,
    *,
    keys: KeyCache[StoredKey],
    projects: ProjectCaches,
    shares: KeyCache[StoredShare],
    forget_device: Callable[[str, str], None],
) -> None:
    """Forget what a notification names. One that a later release sends means nothing here."""
    match payload.split(" ", 2):
        case ["key", key_id]:
            keys.forget(key_id)
        case ["project", number, project_key]:
            projects.by_key.forget(project_key)
            projects.by_member.forget_where(lambda project: str(project.project_id) == number)
            keys.forget_where(lambda key: str(key.project_id) == number)
            shares.forget_where(lambda share: str(share.project_id) == number)
        case ["share", digest]:
            shares.forget(digest)
        case ["device", number, device_id]:
            forget_device(number, device_id)
