"""How long the horizon of exports has been held back, as a metric."""

import time
from collections.abc import Callable

from psycopg2 import sql

from contract.metric_names import NAMESPACE
from device_registration_api.citus.state import horizon_of
from device_registration_api.metrics.stored import StoredValues
from servicekit.database.lease import Lease
from servicekit.database.sql import fetch_all
from servicekit.metrics.families import gauge

HORIZON_AGE = gauge(
    f"{NAMESPACE}_export_horizon_age_seconds",
    "For how long a transaction has been open that holds back exports, or 0.",
)
HORIZON = sql.SQL("SELECT {horizon}, pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
# Four days of looks, one every 15 s.
_LOOKS_MAX = 25_000


class HorizonAge:
    """Remembers which ids of transactions were given out when: the database does not tell every role."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # The id that the next transaction would get, and when that was so; the earliest first.
        self._looks: list[tuple[int, float]] = []

    def read(self, lease: Lease) -> StoredValues:
        """Return the value of this moment: at most the time between two looks too small."""
        with lease.transaction() as conn:
            [(horizon, following)] = fetch_all(
                conn, HORIZON.format(horizon=sql.SQL(horizon_of(conn))), {}, lambda *row: row
            )
        now = self._clock()
        if len(self._looks) < _LOOKS_MAX:
            self._looks.append((following, now))
        # The transaction at the horizon had begun when a later id was the next one.
        self._looks = [look for look in self._looks if look[0] > horizon]
        return {(HORIZON_AGE, ()): now - self._looks[0][1] if self._looks else 0.0}
