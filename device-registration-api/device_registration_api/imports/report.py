"""What an import did with each row of the source."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from pydantic_core import to_json

from device_registration_api.imports.people import Came

# A row of the source that was not registered: its table, its id there, and why.
Refused = Callable[[str, object, str], None]


@dataclass
class TableReport:
    """The rows of one table: `found` of them were there before the first was read."""

    table: str
    found: int
    refused_to: Refused
    registered: int = 0
    duplicate: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    def refuse(self, row_id: object, reason: str) -> None:
        """Say that a row is not registered. A reason has no personal data."""
        self.refused[reason] += 1
        self.refused_to(self.table, row_id, reason)

    def came(self, row_id: object, came: Came) -> bool:
        """Account for a person. True: the person is stored."""
        self.registered += came is Came.NEW
        self.duplicate += came is Came.STORED
        return self.may_have_events(row_id, came)

    def may_have_events(self, row_id: object, came: Came) -> bool:
        """Refuse a row whose person is not stored. True: the person is."""
        if came in (Came.NEW, Came.STORED):
            return True
        self.refuse(row_id, came.value)
        return False

    @property
    def is_exact(self) -> bool:
        """Whether each row of the source is accounted for."""
        return self.found == self.registered + self.duplicate + self.refused.total()

    def lines(self) -> list[str]:
        """Return the sum, and the reasons."""
        parts = f"{self.registered} registered + {self.duplicate} duplicate + {self.refused.total()} refused"
        lines = [f"{self.table}: {self.found} rows = {parts}"]
        lines += [f"    {count} refused: {reason}" for reason, count in self.refused.most_common()]
        if not self.is_exact:
            lines.append(f"    WRONG: the sum differs from the number of rows in {self.table}")
        return lines


def refusal_line(table: str, row_id: object, reason: str) -> bytes:
    """Return a refusal as one line of JSON."""
    return to_json({"table": table, "id": row_id, "reason": reason}, fallback=str) + b"\n"
