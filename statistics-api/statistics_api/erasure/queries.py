"""Reads of the ledger of erasures: SELECT from the `stats` schema and nothing else."""

from datetime import datetime
from uuid import UUID

from contract.erasure import ErasureProgress, ErasureState
from servicekit.database.lease import Lease
from servicekit.database.sql import fetch_all

PROGRESS = """
    SELECT users, events, requested_at, finished_at
      FROM stats.erasure
     WHERE project_id = %(project_id)s AND receipt = %(receipt)s::uuid
"""


def progress(lease: Lease, project_id: int, receipt: UUID) -> list[ErasureProgress]:
    """Return the erasure with this receipt, if the project has one."""
    with lease.transaction() as conn:
        return fetch_all(conn, PROGRESS, {"project_id": project_id, "receipt": str(receipt)}, _progress)


def _progress(users: int, events: int, requested_at: datetime, finished_at: datetime | None) -> ErasureProgress:
    return ErasureProgress(
        state=ErasureState.RUNNING if finished_at is None else ErasureState.FINISHED,
        users=users,
        events=events,
        requested_at=requested_at,
        finished_at=finished_at,
    )
