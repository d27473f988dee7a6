"""Where an export goes on, and the text of it that clients keep."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from contract.exports import CURSOR
from servicekit.errors import Invalid

# How many ids of transactions a statement looks at: of the first one, and at most.
TRANSACTIONS_AT_FIRST = 1_000
TRANSACTIONS_MAX = 2**40

_TransactionId = Annotated[int, Field(ge=0, lt=2**63)]


class Position(BaseModel):
    """Behind which row an export goes on: of which transaction, and which row of it by its key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    project_id: int
    # What the ids of transactions belong to; see `epochs`.
    epoch: str
    transaction: _TransactionId = 0
    # Without these, before the first row of the transaction.
    received_at: AwareDatetime | None = None
    event_id: UUID | None = None
    # Earlier rows are left out.
    received_from: AwareDatetime | None = None
    # What has fitted a page so far. A large transaction is read by itself, up to the last reception of a row of it.
    transactions: int = Field(default=TRANSACTIONS_AT_FIRST, ge=1, le=TRANSACTIONS_MAX)
    received_to: AwareDatetime | None = None

    def text(self) -> str:
        """Return the cursor that clients keep."""
        fields = self.model_dump_json(exclude_defaults=True)
        return urlsafe_b64encode(fields.encode()).rstrip(b"=").decode()

    def at(self, transaction: int, **more: object) -> "Position":
        """Return the position before the first row of a transaction."""
        same = {"kind", "project_id", "epoch", "received_from", "transactions"}
        return Position(**(self.model_dump(include=same) | {"transaction": transaction} | more))

    def behind(self, transaction: int, received_at: datetime, event_id: str) -> "Position":
        """Return the position behind a row."""
        return self.model_copy(
            update={"transaction": transaction, "received_at": received_at, "event_id": UUID(event_id)}
        )


def read_position(text: str, kind: str, project_id: int, where: str = "query") -> Position:
    """Return the position of a cursor, which is in this part of a request.

    Raises:
        Invalid: it is none, or that of another kind or project.
    """
    try:
        fields = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
        found = Position.model_validate_json(fields)
    except (ValueError, ValidationError):
        raise Invalid.single("must be the checkpoint of an export", where, CURSOR) from None
    if (found.kind, found.project_id) != (kind, project_id):
        raise Invalid.single("is the checkpoint of another kind of event, or of another project", where, CURSOR)
    return found
