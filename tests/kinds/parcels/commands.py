"""Writes for parcels; a kind that is delivered has this in the private service."""

from device_registration_api.events.counting import per_minute
from device_registration_api.events.rows import Rows
from device_registration_api.events.table import Counted, EventTable, FactColumn, Rollup
from servicekit.database.copy_encoding import INT4, JSONB, TEXT
from tests.kinds.parcels.events import ParcelColumns

COUNT_TOTAL = """
    INSERT INTO parcel_total AS t (project_id, way, slot, event_count, grams_sum)
    SELECT project_id, way, {slot}, sum(events), sum(grams)
      FROM json_to_recordset({counted}::json) AS counted(project_id int, way text, events bigint, grams bigint)
     GROUP BY 1, 2 ORDER BY 1, 2
        ON CONFLICT (project_id, way, slot)
        DO UPDATE SET event_count = t.event_count + excluded.event_count, grams_sum = t.grams_sum + excluded.grams_sum
"""
COUNT_DAY = """
    INSERT INTO parcel_day AS d (project_id, way, bucket_start, slot, event_count, grams_sum)
    SELECT project_id, way, date_trunc('day', bucket_start, 'UTC'), {slot}, sum(events), sum(grams)
      FROM json_to_recordset({counted}::json)
        AS counted(project_id int, way text, bucket_start timestamptz, events bigint, grams bigint)
     GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
        ON CONFLICT (project_id, way, bucket_start, slot)
        DO UPDATE SET event_count = d.event_count + excluded.event_count, grams_sum = d.grams_sum + excluded.grams_sum
"""


def count(rows: Rows[ParcelColumns]) -> list[Counted]:
    """Both rollups grow by the parcels of a minute that go the same way and weigh the same."""
    ways_and_grams = list(zip(rows.columns.ways, rows.columns.grams, strict=True))
    groups = [
        {"project_id": project_id, "way": way, "bucket_start": minute, "events": events, "grams": events * grams}
        for project_id, (way, grams), minute, events in per_minute(rows, ways_and_grams)
    ]
    return [groups, groups]


PARCELS = EventTable(
    "parcels",
    "parcel",
    model=ParcelColumns,
    columns=(
        FactColumn("code", TEXT, "codes"),
        FactColumn("way", TEXT, "ways"),
        FactColumn("grams", INT4, "grams"),
        FactColumn("contents", JSONB, "contents"),
    ),
    rollups=(Rollup("parcel_total", COUNT_TOTAL), Rollup("parcel_day", COUNT_DAY)),
    count=count,
    exported={"eventId": "event_id", "code": "code", "way": "way", "grams": "grams", "contents": "contents"},
    returned="event_id AS id, code, way, grams, contents",
)
