"""Sabotage: counters grow by the rows sent instead of the rows inserted."""

from collections import Counter
from collections.abc import Sequence

from contract.registrations import Registration
from device_registration_api.auth_events import commands
from servicekit.database import Connection

_record = commands.record


def _record_and_count_all(conn: Connection, registrations: Sequence[Registration]) -> list[commands.PerMinute]:
    _record(conn, registrations)
    sent = Counter(
        (
            each.project_id,
            str(each.device_type),
            (each.occurred_at or each.received_at).replace(second=0, microsecond=0),
        )
        for each in registrations
    )
    return [commands.PerMinute(*group, events) for group, events in sent.items()]


commands.record = _record_and_count_all
