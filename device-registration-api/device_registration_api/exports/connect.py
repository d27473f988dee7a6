"""The connections of exports in the service."""

from device_registration_api.exports.pages import STATEMENT_SECONDS_MAX
from device_registration_api.maintenance.connect import conninfo
from device_registration_api.maintenance.settings import DatabaseSettings
from servicekit.database.pool import Database

# Pages are read two at a time; more exports than these take turns.
CONNECTIONS_MAX = 2
_WAIT_SECONDS_MAX = 5.0


def pool_of_exports(settings: DatabaseSettings, application: str) -> Database:
    """Return a pool that nothing but exports uses. It connects at its first use."""
    return Database(
        conninfo(settings, STATEMENT_SECONDS_MAX, f"{application} exports"),
        connections_max=CONNECTIONS_MAX,
        wait_seconds_max=_WAIT_SECONDS_MAX,
    )
