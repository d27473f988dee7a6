"""Writing until the outcome is known."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

import psycopg2

from servicekit.database import Connection
from servicekit.database.lease import Contention, Lease
from servicekit.errors import NotRecorded, OutcomeUnknown

Result = TypeVar("Result")

_CONTENTION_ATTEMPTS_MAX = 5
_PAUSE_SECONDS = 0.05


def commit(
    lease: Lease, work: Callable[[Connection], Result], fallback: Callable[[Connection], Result] | None = None
) -> Result:
    """Run `work` in one transaction and commit it. Repeated with the same ids, it must be exact or be refused.

    A deadlock or a lock time-out is repeated a few times. A COMMIT whose outcome is unknown is repeated on a new
    connection until it is known, or until the lease expires: only then is anybody told that it is unknown. Once the
    database has refused the data of `work`, `fallback` takes its place.

    Raises:
        NotRecorded: nothing was stored.
        OutcomeUnknown: the connection was lost during COMMIT and no repeat got through in time.
        psycopg2.DataError, psycopg2.IntegrityError: the database refused the data.
    """
    contentions = 0
    unknown: OutcomeUnknown | None = None
    while True:
        try:
            with lease.transaction() as conn:
                return work(conn)
        except (psycopg2.DataError, psycopg2.IntegrityError):
            if fallback is None:
                raise
            # One row was refused and took its neighbours with it; or our own rows are in the way, stored by a COMMIT
            # that got lost: what is unknown stays so, whatever becomes of this attempt.
            work, fallback = fallback, None
            continue
        except OutcomeUnknown as error:
            unknown = error
        except Contention:
            contentions += 1
            if contentions == _CONTENTION_ATTEMPTS_MAX and unknown is None:
                raise
        except NotRecorded:
            if unknown is None:
                raise
        if unknown is not None and lease.has_expired():
            raise unknown
        # Full jitter: those that collided once should not collide again.
        time.sleep(random.uniform(0, _PAUSE_SECONDS))  # noqa: S311 - not a secret
