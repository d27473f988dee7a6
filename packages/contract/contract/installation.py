"""The state of an installation, as its operators see it."""

from datetime import datetime

from pydantic import BaseModel, Field


class StoredState(BaseModel):
    """What the databases know. A field is null where nobody has said it yet, or its database is away."""

    device_registration_api_version: str
    maintained_at: datetime | None = Field(description="When `maintain` last ended without an alarm.")
    counts_verified_at: datetime | None = Field(description="When `verify-counts` last ended.")
    counts_drift: int | None = Field(description="Counts that differed from their events then; 0 is right.")
    default_partition_rows: dict[str, int] = Field(
        description="For each table, rows that no week has a partition for, at most 10,000; 0 is right."
    )
    erasures_open: int = Field(ge=0, description="Erasures that were asked for and are not finished.")
    oldest_open_erasure_seconds: float = Field(ge=0, description="Since the oldest open one was asked for, or 0.")
    kek_age_seconds: float | None = Field(
        description="Since `maintain` first saw the current key-encryption key; null without personal data."
    )


class RateLimitState(BaseModel):
    """The limit of each client address, in the process that answers."""

    rate: str | None = Field(examples=["600 per 1 minute"])
    is_degraded: bool = Field(description="The store that all processes share is away: each counts by itself.")


class Installation(StoredState):
    """The answer to an operator."""

    statistics_api_version: str
    rate_limit: RateLimitState
