"""Creates projects."""

import re
import secrets
import unicodedata
from typing import NamedTuple
from zoneinfo import available_timezones

from pydantic import TypeAdapter, ValidationError

from contract.projects import ProjectName
from device_registration_api.schema.connect import CommandError
from servicekit.database import Connection
from servicekit.database.sql import fetch_all
from servicekit.process import clock

_SLUG_CHARACTERS_MAX = 40
_SUFFIX_DIGITS = 8
_NAME: TypeAdapter[str] = TypeAdapter(ProjectName)

INSERT = """
    INSERT INTO project (name, project_key, timezone, created_at, updated_at)
    VALUES (%(name)s, %(project_key)s, %(timezone)s, %(now)s, %(now)s)
    RETURNING project_id, project_key
"""


class NewProject(NamedTuple):
    """The number of a project, which its rows carry, and its key, by which its owner names it."""

    project_id: int
    project_key: str


def create_project(conn: Connection, name: str, timezone: str = "UTC") -> NewProject:
    """Store a project, and commit.

    Raises:
        CommandError: the name is no text of 1 to 100 characters, or the time zone is unknown.
    """
    try:
        name = _NAME.validate_python(name)
    except ValidationError as error:
        raise CommandError(f"the project's name cannot be used: {error.errors()[0]['msg']}") from None
    if timezone not in available_timezones():
        raise CommandError("the time zone must be one of IANA's, like Europe/Berlin")
    parameters = {"name": name, "project_key": new_project_key(name), "timezone": timezone, "now": clock.now()}
    with conn:
        [created] = fetch_all(conn, INSERT, parameters, NewProject)
    return created


def new_project_key(name: str) -> str:
    """Return the name in lower-case ASCII letters and digits, with a random suffix: two projects may have one name."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain)[:_SLUG_CHARACTERS_MAX].strip("-") or "project"
    return f"{slug}-{secrets.token_hex(_SUFFIX_DIGITS // 2)}"
