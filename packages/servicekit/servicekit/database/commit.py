"""Repeats a transaction until its outcome is known."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

import psycopg2

from servicekit.database.lease import Contention, Lease, StatementFailed, StringFailed
from servicekit.errors import DomainError, NotRecorded, OutcomeUnknown

Result = TypeVar("Result")

_CONTENTION_ATTEMPTS_MAX = 5
_PAUSE_SECONDS = 0.05


def repeat_until_known(
    lease: Lease, attempt: Callable[[Lease], Result], fallback: Callable[[Lease], Result] | None = None
) -> Result:
    """Run `attempt`, which opens a transaction of the lease. A repeat has the same ids, so it is exact or is refused.

    After a deadlock or a lock time-out, the attempt is repeated a few times. After a COMMIT of unknown outcome, it is
    repeated on a new connection until the outcome is known, or until the lease expires: only then does the caller get
    OutcomeUnknown. When the database refuses the data of `attempt`, or fails in one of its statements, `fallback`
    replaces it.

    Raises:
        NotRecorded: nothing was stored.
        OutcomeUnknown: the connection was lost during COMMIT and no repeat got through in time.
        psycopg2.DataError, psycopg2.IntegrityError: the database refused the data.
    """
    contentions = 0
    unknown: OutcomeUnknown | None = None
    while True:
        try:
            return attempt(lease)
        except (psycopg2.DataError, psycopg2.IntegrityError, StatementFailed, StringFailed) as error:
            # Either one refused row made the whole transaction fail, or our own rows are stored already, by a COMMIT
            # of which the answer was lost (a cluster reports a duplicate key in COPY as an internal error). An unknown
            # outcome stays unknown, whatever the result of this attempt is.
            unknown = error if isinstance(error, StringFailed) else unknown
            if fallback is not None:
                attempt, fallback = fallback, None
                continue
            if unknown is None or not isinstance(error, DomainError):
                raise
        except OutcomeUnknown as error:
            unknown = error
        except NotRecorded as error:
            contentions += isinstance(error, Contention)
            is_over = contentions == _CONTENTION_ATTEMPTS_MAX or not isinstance(error, Contention)
            if unknown is None and is_over:
                raise
        if unknown is not None and lease.has_expired():
            raise unknown
        # Full jitter: transactions that collided once should not collide again.
        time.sleep(random.uniform(0, _PAUSE_SECONDS))  # noqa: S311 - not a secret
