"""Install, upgrade or downgrade the tables of one database, in one transaction under one lock."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError as AlembicCommandError
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from device_registration_api.schema.connect import TRANSACTION_LOCK, CommandError, acquire_lock
from device_registration_api.schema.roles import act_as_owner
from device_registration_api.schema.schemas import SCHEMA_FOLDER, Schema
from servicekit.database import Connection
from servicekit.process.progress import NOT_SHOWN, Progress


def newest_revision(schema: Schema) -> str:
    """The revision that the schema's SQL file describes."""
    revision = ScriptDirectory.from_config(_config(schema)).get_current_head()
    if revision is None:
        raise RuntimeError("the folder of revisions is empty")
    return revision


def current_revision(conn: Connection) -> str | None:
    """The database's revision, or None when nothing is installed."""
    with conn.cursor() as cur:
        cur.execute("SELECT to_regclass('public.alembic_version') IS NOT NULL")
        if cur.fetchone() != (True,):
            return None
        cur.execute("SELECT version_num FROM public.alembic_version")
        row = cur.fetchone()
        return None if row is None else str(row[0])


def is_newer(schema: Schema, revision: str) -> bool:
    """Whether a revision comes after the newest one of this release: revisions are numbered without gaps."""
    return revision.isdecimal() and int(revision) > int(newest_revision(schema))


@contextmanager
def schema_transaction(conn: Connection, schema: Schema) -> Iterator[Config]:
    """One transaction, while no other migration runs in this database; yields the config for `upgrade` and `downgrade`.

    If the process is killed at any moment, the schema stays as it was.

    Raises psycopg2.Error as it is, without SQLAlchemy's error around it.
    """
    # SQLAlchemy rolls back once when it first uses a connection, so this must precede our first statement. This pool
    # leaves the connection open afterwards, because it belongs to the caller.
    engine = create_engine("postgresql+psycopg2://", creator=lambda: conn, poolclass=StaticPool)
    try:
        with engine.begin() as shared:
            acquire_lock(conn, TRANSACTION_LOCK, schema.lock)
            config = _config(schema)
            config.attributes["connection"] = shared
            yield config
    except DBAPIError as error:
        raise error.orig or error from error


def install(conn: Connection, schema: Schema) -> None:
    """Run the schema's SQL file in an empty database and note the revision. The caller owns the transaction."""
    act_as_owner(conn)
    with conn.cursor() as cur:
        cur.execute(schema.sql_file.read_text(encoding="utf-8"))
        revision = newest_revision(schema)
        cur.execute("INSERT INTO alembic_version (version_num) VALUES (%(revision)s)", {"revision": revision})


def upgrade(conn: Connection, config: Config, revision: str = "head", progress: Progress = NOT_SHOWN) -> None:
    """Run the revisions that are missing up to `revision`. The caller owns the transaction.

    Raises CommandError when the database is at a revision that this release does not know.
    """
    act_as_owner(conn)
    with _reporting_errors(conn, config):
        missing = _missing(conn, config)
        progress.expect(len(missing))
        names = iter([*(f"revision {each}" for each in missing), "commit"])
        progress.doing(next(names))

        def applied(**_: object) -> None:
            progress.advance()
            progress.doing(next(names, ""))

        config.attributes["applied"] = applied
        command.upgrade(config, revision)


def downgrade(conn: Connection, config: Config) -> None:
    """Undo the newest revision, and delete the data that needs it. The caller owns the transaction.

    Raises CommandError when nothing is installed or only the first revision is.
    """
    script = ScriptDirectory.from_config(config)
    revision = current_revision(conn)
    if revision is None:
        raise CommandError("nothing is installed in this database, so there is nothing to take back")
    if revision == script.get_base():
        raise CommandError(f"revision {revision} is the first: taking it back means dropping the database, by hand")
    act_as_owner(conn)
    with _reporting_errors(conn, config):
        command.downgrade(config, "-1")


def _missing(conn: Connection, config: Config) -> list[str]:
    """Return the revisions that a database lacks, the first first; all of them for one of an unknown revision."""
    current = current_revision(conn)
    newest_first = (each.revision for each in ScriptDirectory.from_config(config).walk_revisions())
    return list(takewhile(lambda each: each != current, newest_first))[::-1]


@contextmanager
def _reporting_errors(conn: Connection, config: Config) -> Iterator[None]:
    revision = current_revision(conn)
    try:
        yield
    except AlembicCommandError as error:
        newest = ScriptDirectory.from_config(config).get_current_head()
        raise CommandError(
            f"the database is at revision {revision}, unknown to this release, whose newest is {newest}"
        ) from error


def _config(schema: Schema) -> Config:
    config = Config()
    # Alembic expands % in its settings, and the name of a folder may contain one.
    config.set_main_option("script_location", str(SCHEMA_FOLDER).replace("%", "%%"))
    config.set_main_option("version_locations", str(schema.revisions).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    return config
