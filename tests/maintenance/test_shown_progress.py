"""What an operator sees of a long command on a terminal, and what a script reads of it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import psycopg2

from local.database import base_environment

if TYPE_CHECKING:
    from tests.servers import MigratedDatabase


def test_a_terminal_shows_what_verify_counts_waits_for_and_its_output_stays_plain(database: MigratedDatabase) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "device_registration_api", "verify-counts"]
    with closing(psycopg2.connect(database.admin_url)) as holder, holder.cursor() as cursor:
        cursor.execute("LOCK TABLE api_endpoint, auth_event_total IN ACCESS EXCLUSIVE MODE")
        env = base_environment() | database.writer_env
        with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=theirs) as process:
            os.close(theirs)
            shown = b""
            while b" of 4, reading auth_event, " not in shown:
                shown += os.read(ours, 1_000)
            holder.rollback()
            output, _ = process.communicate()
    os.close(ours)
    assert process.returncode == 0, output
    assert b"\x1b" not in output
    assert b"no drift" in output
    assert b"\n" not in shown
