"""Runs one erasure after the other, each in a process of its own that kills itself at another statement.

Arguments: the connection strings of the three databases; each line of the input is the id of a person. The first
person's job dies before its first statement, the second's before its second, and so on; a commit counts twice, before
and after. It prints for each whether the job died.
"""

import asyncio
import os
import signal
import sys
import time
from functools import partial
from unittest.mock import patch
from uuid import UUID

import psycopg2
from psycopg2.extensions import connection, cursor

from device_registration_api.erasure import job
from device_registration_api.erasure.job import Erasures
from device_registration_api.personal.erasing import PersonEraser
from servicekit.database.pool import Database

PROJECT = 1
left = 0


def count() -> None:
    global left  # noqa: PLW0603 - of this process alone
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1


class CountingCursor(cursor):
    def execute(self, query, vars=None):  # type: ignore[no-untyped-def]  # noqa: A002, ANN001, ANN201
        count()
        return super().execute(query, vars)


class CountingConnection(connection):
    def cursor(self, *args, **kwargs):  # type: ignore[no-untyped-def]  # noqa: ANN002, ANN003, ANN201
        return super().cursor(*args, cursor_factory=CountingCursor, **kwargs)

    def commit(self) -> None:
        count()
        super().commit()
        count()


def erase(dsns: list[str], person: UUID) -> None:
    with patch.object(psycopg2, "connect", partial(psycopg2.connect, connection_factory=CountingConnection)):
        first, personal, keyring = (Database(each, connections_max=1, wait_seconds_max=5.0) for each in dsns)
        asyncio.run(Erasures(first, PersonEraser(personal, keyring)).erase(PROJECT, person, time.monotonic() + 30))
    os._exit(0)


def main() -> None:
    global left  # noqa: PLW0603
    job.BATCH_ROWS = 2
    for number, line in enumerate(sys.stdin):
        left = number
        child = os.fork()
        if child == 0:
            erase(sys.argv[1:], UUID(line.strip()))
        _, status = os.waitpid(child, 0)
        print("died" if os.WIFSIGNALED(status) else "done" if status == 0 else "failed", flush=True)


if __name__ == "__main__":
    main()
