"""Writes for measurements: their columns, sums, and the latest of each device. Callers own the transaction."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, LiteralString

from contract.delivery import Outcome, OutcomeStatus
from contract.devices import DEVICE_NOT_FOUND
from contract.measurements.events import AXES, MeasurementColumns
from device_registration_api.events.row_texts import row_texts
from device_registration_api.events.rows import Rows
from device_registration_api.events.table import Counted, EventTable, FactColumn, Rollup
from device_registration_api.measurements.device_names import DeviceNames
from servicekit.database.copy_encoding import FLOAT8, INT8
from servicekit.database.lease import Lease

# The database adds up the decimal texts: the same as when the rows retire, and as the check of the counts does.
COUNT_QUARTER_HOUR = """
    INSERT INTO measurement_quarter_hour AS r
           (project_id, device_number, bucket_start, slot, event_count,
            x_sum, y_sum, z_sum, x_min, x_max, y_min, y_max, z_min, z_max)
    SELECT project_id, device_number, date_bin('15 minutes', occurred_at, 'epoch'), {slot}, count(*),
           sum(x::text::numeric), sum(y::text::numeric), sum(z::text::numeric),
           min(x), max(x), min(y), max(y), min(z), max(z)
      FROM json_to_recordset({counted}::json)
        AS counted(project_id int, device_number bigint, occurred_at timestamptz, x float8, y float8, z float8)
     GROUP BY 1, 2, 3
     ORDER BY 1, 2, 3
        ON CONFLICT (project_id, device_number, bucket_start, slot)
        DO UPDATE SET event_count = r.event_count + excluded.event_count,
                      x_sum = r.x_sum + excluded.x_sum,
                      y_sum = r.y_sum + excluded.y_sum,
                      z_sum = r.z_sum + excluded.z_sum,
                      x_min = least(r.x_min, excluded.x_min),
                      x_max = greatest(r.x_max, excluded.x_max),
                      y_min = least(r.y_min, excluded.y_min),
                      y_max = greatest(r.y_max, excluded.y_max),
                      z_min = least(r.z_min, excluded.z_min),
                      z_max = greatest(r.z_max, excluded.z_max)
"""
# The last statement, because two processes may wait here for one row. Of two measurements of one instant, the one with
# the greater id is the latest, in whichever order they arrive.
KEEP_LATEST = """
    INSERT INTO device_latest AS l (project_id, device_number, occurred_at, event_id, x, y, z)
    SELECT project_id, existing_device(project_id, device_number), occurred_at, event_id, x, y, z
      FROM json_to_recordset({counted}::json)
        AS sent(project_id int, device_number bigint, occurred_at timestamptz, event_id uuid,
                x float8, y float8, z float8)
     ORDER BY project_id, device_number
        ON CONFLICT (project_id, device_number)
        DO UPDATE SET occurred_at = excluded.occurred_at, event_id = excluded.event_id,
                      x = excluded.x, y = excluded.y, z = excluded.z
         WHERE (excluded.occurred_at, excluded.event_id) > (l.occurred_at, l.event_id)
"""
RETURNED: LiteralString = "event_id AS id, device_id, x, y, z, occurred_at AS timestamp"


class StoredColumns(MeasurementColumns):
    """The fields of measurements, and the id of each one's device; None where it is not there."""

    device_ids: list[str | None]


def complete() -> Callable[[Lease, Rows[MeasurementColumns]], Rows[MeasurementColumns]]:
    """Return a `complete` of EventTable, with a memory of its own of devices."""
    names = DeviceNames()

    def complete_rows(lease: Lease, rows: Rows[MeasurementColumns]) -> Rows[MeasurementColumns]:
        devices = list(zip(rows.project_ids, rows.columns.device_numbers, strict=True))
        fields = {name: getattr(rows.columns, name) for name in MeasurementColumns.model_fields}
        return replace(rows, columns=StoredColumns.model_construct(**fields, device_ids=names.of(lease, devices)))

    return complete_rows


def write(rows: Rows[MeasurementColumns]) -> list[bytes]:
    """Return rows that were just stored as RETURNED has them."""
    columns = rows.columns
    assert isinstance(columns, StoredColumns)  # noqa: S101 - `complete` was called before
    each = zip(rows.event_ids, columns.device_ids, columns.xs, columns.ys, columns.zs, rows.happened_at(), strict=True)
    return row_texts(
        {"id": event_id, "device_id": device_id, "x": x, "y": y, "z": z, "timestamp": at}
        for event_id, device_id, x, y, z, at in each
    )


def count(rows: Rows[MeasurementColumns]) -> Sequence[Counted]:
    """Return every row for the sums, and the latest row of each device."""
    columns = rows.columns
    sent: list[Mapping[str, object]] = []
    latest: dict[tuple[int, int], tuple[datetime, str]] = {}
    latest_rows: dict[tuple[int, int], Mapping[str, object]] = {}
    for project_id, device_number, at, event_id, x, y, z in zip(
        rows.project_ids,
        columns.device_numbers,
        rows.happened_at(),
        rows.event_ids,
        columns.xs,
        columns.ys,
        columns.zs,
        strict=True,
    ):
        row: dict[str, Any] = {
            "project_id": project_id,
            "device_number": device_number,
            "occurred_at": at,
            "x": x,
            "y": y,
            "z": z,
        }
        sent.append(row)
        device = (project_id, device_number)
        if device not in latest or (at, event_id) > latest[device]:
            latest[device] = (at, event_id)
            latest_rows[device] = {**row, "event_id": event_id}
    return sent, list(latest_rows.values())


MEASUREMENTS = EventTable(
    "measurements",
    "measurement",
    model=MeasurementColumns,
    columns=(
        FactColumn("device_number", INT8, "device_numbers"),
        FactColumn("x", FLOAT8, "xs"),
        FactColumn("y", FLOAT8, "ys"),
        FactColumn("z", FLOAT8, "zs"),
    ),
    rollups=(Rollup("measurement_quarter_hour", COUNT_QUARTER_HOUR), Rollup("device_latest", KEEP_LATEST)),
    count=count,
    exported={
        "eventId": "event_id",
        "device_id": "device_id",
        "x": "x",
        "y": "y",
        "z": "z",
        "timestamp": "occurred_at",
        "received_at": "received_at",
    },
    returned=RETURNED,
    returned_from="JOIN device USING (project_id, device_number)",
    write=write,
    spellings={**dict.fromkeys(AXES, float), "timestamp": datetime.fromisoformat},
    complete=complete(),
    # The function existing_device refuses with this name.
    refusals={"device_exists": Outcome(status=OutcomeStatus.NOT_FOUND, detail=DEVICE_NOT_FOUND)},
)
