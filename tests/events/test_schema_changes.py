"""A service that is started before its schema is there, and a schema that changes under its connections."""

from contextlib import closing

import psycopg2
import pytest

from local.database import base_environment, migrate
from servicekit.errors import NotRecorded
from tests.events.conftest import Spine
from tests.events.kinds import AUTH_EVENTS_UNDER_TEST
from tests.events.test_histories import Event, Flush, History
from tests.servers import READER, WRITER, MigratedDatabase


def keyed_and_not(history: History, name: str) -> None:
    history.flush(Flush([[Event(1), Event(2, name)]]))
    history.flush(Flush([[Event(3)]]))


def test_before_the_migration_nothing_is_recorded_and_after_it_everything(fresh_database: str, template: str) -> None:
    assert template  # the roles exist, as they do on a server that serves another database
    spine = Spine(MigratedDatabase(fresh_database), kinds=[AUTH_EVENTS_UNDER_TEST])
    try:
        with closing(psycopg2.connect(fresh_database)) as admin, admin.cursor() as cursor:
            cursor.execute(f'GRANT CONNECT ON DATABASE "{admin.info.dbname}" TO {WRITER.user}')
            admin.commit()
        history = History(spine, AUTH_EVENTS_UNDER_TEST)
        for event in (Event(1), Event(1, "key")):
            with pytest.raises(NotRecorded, match="schema is not ready"):
                history.flush(Flush([[event]]))
        migrate(fresh_database, WRITER, READER, base_environment())
        keyed_and_not(history, "after")
        history.check()
    finally:
        spine.database.close()


REPLACE_TABLE = """
    ALTER TABLE auth_event_total RENAME TO old;
    CREATE TABLE auth_event_total (LIKE old INCLUDING ALL);
    INSERT INTO auth_event_total SELECT * FROM old;
    GRANT SELECT, INSERT, UPDATE ON auth_event_total TO registration_writer;
    DROP TABLE old CASCADE;
"""


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE auth_event ADD COLUMN more int NOT NULL DEFAULT 7; ALTER TABLE idempotency ADD COLUMN more text",
        "ALTER TYPE device_type ADD VALUE 'Car'",
        REPLACE_TABLE,
        "SELECT maintenance.create_partition('auth_event', (date_trunc('week', now()) + interval '84 days')::date)",
    ],
    ids=["columns", "enum", "table", "partition"],
)
def test_a_change_of_the_schema_is_not_noticed_by_open_connections(spine: Spine, change: str) -> None:
    history = History(spine, AUTH_EVENTS_UNDER_TEST)
    keyed_and_not(history, "before")
    spine.rows(change)
    keyed_and_not(history, "after")
    history.check()
