"""Forgets a key or a project as soon as the database says that it has changed.

Without a notification, what is remembered is at most 30 seconds old (key_cache.py): the connection that listens may be
lost at any time, and does no harm.
"""

import asyncio
from functools import partial

from servicekit.database.listener import Listener
from statistics_api.access.key_cache import KeyCache
from statistics_api.access.projects import ProjectCaches
from statistics_api.access.queries import StoredKey

# The triggers of schema 0007 send `key ID` or `project NUMBER KEY`.
CHANNEL = "access_changed"


def new_listener(dsn: str, keys: KeyCache[StoredKey], projects: ProjectCaches) -> Listener:
    """Return a listener that is not started; what it receives is handled in the running event loop."""
    loop = asyncio.get_running_loop()
    forget = partial(forget_changed, keys=keys, projects=projects)
    return Listener(dsn, CHANNEL, lambda payload: loop.call_soon_threadsafe(forget, payload))


def forget_changed(payload: str, *, keys: KeyCache[StoredKey], projects: ProjectCaches) -> None:
    """Forget what a notification names. One that a later release sends means nothing here."""
    match payload.split(" "):
        case ["key", key_id]:
            keys.forget(key_id)
        case ["project", number, project_key]:
            projects.by_key.forget(project_key)
            projects.by_member.forget_where(lambda project: str(project.project_id) == number)
            keys.forget_where(lambda key: str(key.project_id) == number)
