"""The schemas of the product: each has a database of its own, an SQL file and a folder of revisions."""

from dataclasses import dataclass
from pathlib import Path

SCHEMA_FOLDER = Path(__file__).resolve().parent
_ROOT = SCHEMA_FOLDER.parents[2]


@dataclass(frozen=True)
class Schema:
    """What `migrate` makes in one database."""

    name: str
    # The whole current schema, which an empty database gets.
    sql_file: Path
    # What an older database gets.
    revisions: Path
    # An arbitrary number that no other program uses for an advisory lock in this database.
    lock: int


STATISTICS = Schema("statistics", _ROOT / "init.sql", SCHEMA_FOLDER / "revisions", 7_302_001)
PERSONAL = Schema("personal", _ROOT / "personal.sql", SCHEMA_FOLDER / "personal_revisions", 7_302_003)
KEYRING = Schema("keyring", _ROOT / "keyring.sql", SCHEMA_FOLDER / "keyring_revisions", 7_302_004)
# Optional, on another server than the first.
INBOX = Schema("inbox", _ROOT / "inbox.sql", SCHEMA_FOLDER / "inbox_revisions", 7_302_005)
SCHEMAS = (STATISTICS, PERSONAL, KEYRING, INBOX)


def named_beside(database: str, schema: Schema) -> str:
    """Return the default name of a schema's database, whose neighbour has the first schema."""
    return f"{database}_{schema.name}"
