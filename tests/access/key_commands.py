"""What the commands do, one committed transaction each, on a test's database."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta

from pydantic import SecretStr

from contract.access import ApiKeyDraft, Scope
from contract.projects import ProjectDraft
from device_registration_api.access import keys, projects
from device_registration_api.maintenance.connect import connect
from device_registration_api.maintenance.settings import DatabaseSettings
from servicekit.database import Connection
from tests.servers import MigratedDatabase


@contextmanager
def connected(database: MigratedDatabase) -> Iterator[Connection]:
    """A connection of the writer."""
    env = database.writer_env
    settings = DatabaseSettings(
        db_host=env["DB_HOST"],
        db_port=int(env["DB_PORT"]),
        db_name=env["DB_NAME"],
        db_user=env["DB_USER"],
        db_password=SecretStr(env["DB_PASSWORD"]),
    )
    with closing(connect(settings, statement_seconds_max=10)) as conn:
        yield conn


def create_project(conn: Connection, name: str) -> str:
    """The key of a new project."""
    with conn:
        return projects.create_project(conn, ProjectDraft(name=name)).project_key


def create_key(
    conn: Connection, project: str, scopes: Sequence[Scope], *, expires_at: datetime | None, active_max: int = 10
) -> str:
    """The text of a new API key."""
    draft = ApiKeyDraft(name="k", scopes=list(scopes), expires_at=expires_at)
    with conn:
        text = keys.create_key(conn, project, draft, active_max=active_max).key
    assert text is not None
    return text


def list_keys(conn: Connection, project: str) -> list[keys.StoredKey]:
    """Every key of a project."""
    with conn:
        return keys.list_keys(conn, project)


def revoke_key(conn: Connection, project: str, key_id: str) -> None:
    """End a key."""
    with conn:
        keys.revoke_key(conn, project, key_id)


def rotate_key(conn: Connection, project: str, key_id: str, *, overlap: timedelta, active_max: int) -> str:
    """The text of a key's successor."""
    with conn:
        text = keys.rotate_key(conn, project, key_id, overlap=overlap, active_max=active_max).key
    assert text is not None
    return text
