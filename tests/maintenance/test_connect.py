"""Every connection has the same bounds against a silent peer, and time-outs of its own."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from device_registration_api.maintenance.connect import connect as connect_as_writer
from device_registration_api.schema.connect import connect as connect_as_administrator
from servicekit.database.connection_string import CONNECTION_PARAMETERS
from tests.maintenance.rounds import settings

if TYPE_CHECKING:
    from tests.servers import MigratedDatabase


@pytest.mark.parametrize("command", ["maintain", "migrate"])
def test_no_command_waits_for_ever_for_a_server_that_went_away(database: MigratedDatabase, command: str) -> None:
    conn = (
        connect_as_writer(settings(database), statement_seconds_max=600)
        if command == "maintain"
        else connect_as_administrator(database.admin_url)
    )
    with closing(conn):
        expected = {name: str(value) for name, value in CONNECTION_PARAMETERS.items()}
        assert expected.items() <= conn.info.dsn_parameters.items()


def test_a_session_of_maintenance_has_time_for_long_statements_and_little_for_locks(database: MigratedDatabase) -> None:
    with closing(connect_as_writer(settings(database), statement_seconds_max=600)) as conn, conn.cursor() as cur:
        cur.execute("""
            SELECT current_setting('statement_timeout'), current_setting('lock_timeout'),
                   current_setting('idle_in_transaction_session_timeout'), current_setting('synchronous_commit'),
                   current_setting('timezone')
        """)
        assert cur.fetchall() == [("10min", "2s", "10s", "on", "UTC")]
