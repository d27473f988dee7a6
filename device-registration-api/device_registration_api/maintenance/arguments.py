"""What several commands read from their arguments."""

import argparse
from datetime import datetime

from pydantic import TypeAdapter, ValidationError

from contract.text import Instant
from device_registration_api.schema.connect import CommandError
from servicekit.database import Connection
from servicekit.database.sql import fetch_all

PROJECT = "SELECT project_id FROM project WHERE project_key = %(project_key)s AND deleted_at IS NULL"

_INSTANT: TypeAdapter[datetime] = TypeAdapter(Instant)


def instant(text: str) -> datetime:
    """Return a time; for argparse."""
    try:
        return _INSTANT.validate_python(text)
    except ValidationError as error:
        raise argparse.ArgumentTypeError("a time with a zone is needed, like 2026-11-30T00:00:00Z") from error


def project_id_of(conn: Connection, project_key: str) -> int:
    """Return the number of a project. Raises CommandError."""
    found = fetch_all(conn, PROJECT, {"project_key": project_key}, int)
    if not found:
        message = f"there is no project {project_key}"
        raise CommandError(message)
    return found[0]
