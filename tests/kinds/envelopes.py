"""Envelopes as the public service sends them to the private one."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from uuid_utils import uuid7

from tests.kinds.served_kinds import ServedKind


def forward_of(
    kind: ServedKind,
    identities: Sequence[str],
    group: int = 0,
    *,
    keys: Mapping[int, str] | None = None,
    received_at: datetime | None = None,
) -> dict[str, Any]:
    """Independent events of one group; `keys` are those of clients, by the position of the event."""
    at = (received_at or datetime.now(UTC)).isoformat()
    return {
        "project_ids": [1] * len(identities),
        "event_ids": [str(uuid7()) for _ in identities],
        "received_at": [at] * len(identities),
        "columns": kind.columns(identities, kind.groups[group]),
        "keys": {position: key_of(key, identities[position]) for position, key in (keys or {}).items()},
    }


def batch_of(
    kind: ServedKind, identities: Sequence[str], *, key: str | None = None, keys: Mapping[int, str] | None = None
) -> dict[str, Any]:
    """One client's batch, under its own `key` if it has one."""
    return {
        "project_id": 1,
        "batch_id": str(uuid7()),
        "received_at": datetime.now(UTC).isoformat(),
        "columns": kind.columns(identities, kind.groups[0]),
        "keys": {position: key_of(each, identities[position]) for position, each in (keys or {}).items()},
        "key": None if key is None else key_of(key, *identities),
    }


def key_of(key: str, *said: str) -> dict[str, str]:
    """A client's key, for the first who says this under it."""
    return {"key": key, "fingerprint": hashlib.sha256("\n".join(said).encode()).hexdigest()}
