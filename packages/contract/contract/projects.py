"""Projects: every event belongs to one. Accounts are members of projects."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, TypeAlias
from uuid import UUID
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, field_validator

from contract.accounts import Email
from contract.text import ShortText, readable

DEFAULT_PROJECT_ID = 1  # `/Log/*` without a key records to it and reads from it
NAME_CHARACTERS_MAX = 100
DESCRIPTION_CHARACTERS_MAX = 1_000
RETENTION_DAYS_MAX = 36_500
APDEX_THRESHOLD_MS_MAX = 3_600_000
_ZONES = available_timezones()


def known_timezone(name: str) -> str:
    """Return the name of a time zone. Raises ValueError if it is none of IANA's."""
    if name not in _ZONES:
        message = "must be one of IANA's time zones, like Europe/Berlin"
        raise ValueError(message)
    return name


ProjectId: TypeAlias = Annotated[int, Field(ge=1, lt=2**31)]
# The name of a project, or of one of its keys.
ProjectName: TypeAlias = Annotated[ShortText, Field(max_length=NAME_CHARACTERS_MAX)]
Description: TypeAlias = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=DESCRIPTION_CHARACTERS_MAX),
    AfterValidator(readable),
]
Timezone: TypeAlias = Annotated[str, AfterValidator(known_timezone)]
ApdexThreshold: TypeAlias = Annotated[int, Field(strict=True, ge=1, le=APDEX_THRESHOLD_MS_MAX)]
RetentionDays: TypeAlias = Annotated[int, Field(strict=True, ge=1, le=RETENTION_DAYS_MAX)]


class ProjectRole(StrEnum):
    """What an account may do in a project: an owner everything, a member read its figures and see its keys."""

    OWNER = "owner"
    MEMBER = "member"


class ProjectDraft(BaseModel):
    """The fields of a new project."""

    model_config = ConfigDict(
        frozen=True, json_schema_extra={"examples": [{"name": "Shop", "timezone": "Europe/Berlin"}]}
    )

    name: ProjectName
    description: Description | None = None
    timezone: Timezone = "UTC"
    apdex_threshold_ms: ApdexThreshold = 500
    retention_days: RetentionDays | None = Field(
        default=None, description="How long raw rows are kept; null: as the installation keeps them."
    )


class ProjectChange(BaseModel):
    """The fields of a project that change. A field that is absent stays; null clears a description or a retention."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"examples": [{"name": "Web shop"}]})

    name: ProjectName | None = None
    description: Description | None = None
    timezone: Timezone | None = None
    apdex_threshold_ms: ApdexThreshold | None = None
    retention_days: RetentionDays | None = None
    is_active: Annotated[bool, Field(strict=True)] | None = None

    @field_validator("name", "timezone", "apdex_threshold_ms", "is_active", mode="before")
    @classmethod
    def _not_null(cls, value: Any) -> Any:  # noqa: ANN401 - whatever the client sent
        return not_null(value)


class Project(BaseModel):
    """A project, as one of its members sees it; `role` is that member's."""

    id: int
    project_key: str
    name: str
    description: str | None
    timezone: str
    apdex_threshold_ms: int
    retention_days: int | None
    is_active: bool
    created_at: datetime
    updated_at: datetime
    role: ProjectRole


class MemberDraft(BaseModel):
    """An account that becomes a member, by its e-mail address in any case."""

    model_config = ConfigDict(
        frozen=True, json_schema_extra={"examples": [{"email": "ana.test@example.com", "role": "member"}]}
    )

    email: Email = Field(repr=False)
    role: ProjectRole = ProjectRole.MEMBER


class Member(BaseModel):
    """An account that is a member of a project."""

    account_id: UUID
    role: ProjectRole
    added_at: datetime


class Retention(BaseModel):
    """What the last run of the retention did with the stored rows of one kind of event, in one project."""

    kind: str = Field(description="The kind of event: `auth_event` or `api_request`.")
    retention_days: int | None = Field(
        description="How long rows are kept: the shorter one of the project's and the installation's; null: for ever."
    )
    ran_at: datetime
    deleted_rows: int = Field(description="By the project's own `retention_days`, all runs together.")
    kept_rows: int
    oldest_received_at: datetime | None = Field(description="When the oldest row arrived; null: there is none.")


def not_null(value: Any) -> Any:  # noqa: ANN401 - whatever the client sent
    """Refuse an explicit null, in a change whose absent fields stay. Raises ValueError."""
    if value is None:
        message = "must not be null; leave it out to keep it"
        raise ValueError(message)
    return value
