"""What an operator sees of a long command on a terminal, and what a script reads of it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import psycopg2
import pytest

from local.database import base_environment
from tests.accounts.conftest import new_email, register
from tests.servers import Product, finished_process

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx2

    from tests.personal_databases import PersonalDatabases
    from tests.servers import MigratedDatabase


@pytest.fixture(scope="module")
def product(product_with_accounts: Product) -> Product:
    """Accounts are configured."""
    return product_with_accounts


def output_while_held(
    database: MigratedDatabase, env: Mapping[str, str], tables: str, progress: bytes, *arguments: str
) -> bytes:
    """What a command printed that waited for these tables until its terminal had shown this progress, in one line."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "device_registration_api", *arguments]
    with closing(psycopg2.connect(database.admin_url)) as holder, holder.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE")
        whole = base_environment() | database.writer_env | dict(env)
        with subprocess.Popen(command, env=whole, stdout=subprocess.PIPE, stderr=theirs) as process:
            os.close(theirs)
            shown = b""
            while progress not in shown:
                shown += os.read(ours, 1_000)
            holder.rollback()
            output, _ = process.communicate()
    os.close(ours)
    assert process.returncode == 0, output
    assert b"\x1b" not in output
    assert b"\n" not in shown
    return output


def test_a_terminal_shows_what_verify_counts_waits_for_and_its_output_stays_plain(database: MigratedDatabase) -> None:
    held = "api_endpoint, auth_event_total"
    output = output_while_held(database, {}, held, b" of 4, reading auth_event, ", "verify-counts")
    assert b"no drift" in output


def test_a_terminal_shows_for_how_long_an_account_is_being_erased(
    product_with_accounts: Product, public: httpx2.Client, personal_databases: PersonalDatabases
) -> None:
    register(public, email := new_email()).raise_for_status()
    arguments = (product_with_accounts.database, personal_databases.environment, "erasure", b"erase-account: 0:0")
    output = output_while_held(*arguments, "erase-account", email)
    assert output.startswith(b"the account is erased")


def test_elsewhere_a_short_erasure_shows_its_result_alone(
    product_with_accounts: Product, public: httpx2.Client, personal_databases: PersonalDatabases
) -> None:
    register(public, email := new_email()).raise_for_status()
    env = product_with_accounts.database.writer_env | personal_databases.environment
    finished = finished_process(env, "erase-account", email)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout.startswith("the account is erased")
