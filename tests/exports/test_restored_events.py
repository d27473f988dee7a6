"""Events that were restored from another server, whose transactions had greater ids, are in exports after `migrate`."""

from local.database import base_environment, migrate
from tests.database import rows
from tests.exports.conftest import Source
from tests.servers import READER, WRITER

OF_ANOTHER_SERVER = """
    INSERT INTO auth_event (project_id, received_at, event_id, occurred_at, device_type, user_key, commit_xid)
    SELECT %(project)s, now(), gen_random_uuid(), now(), 'TV', 'restored', 1000000000000 + number
      FROM generate_series(1, 3) AS number
"""


def test_restored_events_are_refused_until_they_are_numbered(source: Source) -> None:
    database = source.product.database
    source.record("auth_events", 2)
    rows(database, OF_ANOTHER_SERVER, {"project": source.project_id})
    refused = source.export("auth_events")
    assert (refused.status_code, refused.json()["code"]) == (503, "not-configured")
    assert "migrate" in refused.json()["detail"]
    assert source.exported("measurements")[0] == []

    migrate(database.admin_url, WRITER, READER, base_environment())

    found, checkpoint = source.exported("auth_events")
    assert [each["userKey"] for each in found[:3]] == ["restored"] * 3
    assert len(found) == 5
    source.record("auth_events", 1)
    assert len(source.exported("auth_events", cursor=checkpoint)[0]) == 1
