"""The databases of personal data of a product, and what its private service needs for accounts."""

import base64
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg2

from tests.schema.schema_steps import PERSONAL_LOGIN
from tests.servers import Cluster


def key_list(*numbers: int) -> str:
    """Numbered keys as a setting has them."""
    return ",".join(f"{number}:{base64.b64encode(bytes([number]) * 32).decode()}" for number in numbers)


def signing_key(key_id: str, byte: int = 7) -> str:
    """One key as the setting has it."""
    return f"{key_id}:{base64.urlsafe_b64encode(bytes([byte]) * 32).rstrip(b'=').decode()}"


@dataclass(frozen=True)
class PersonalDatabases:
    """The databases of personal data of one product."""

    cluster: Cluster
    personal: str
    keyring: str

    @property
    def environment(self) -> dict[str, str]:
        """What the private service and its commands need for accounts."""
        return PERSONAL_LOGIN | {
            "PERSONAL_DATABASE_URL": self.cluster.admin_url(self.personal),
            "KEYRING_DATABASE_URL": self.cluster.admin_url(self.keyring),
            "PERSONAL_KEKS": key_list(1),
            "PERSONAL_INDEX_KEYS": key_list(2),
            "TOKEN_SIGNING_KEYS": signing_key("a"),
        }

    def rows(self, statement: str, parameters: Mapping[str, object] | None = None) -> list[tuple[Any, ...]]:
        """Run a statement as the administrator in `personal`."""
        with closing(psycopg2.connect(self.cluster.admin_url(self.personal))) as conn, conn, conn.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []
