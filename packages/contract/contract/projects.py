"""Projects: every event belongs to one."""

from typing import Annotated, TypeAlias

from pydantic import Field

DEFAULT_PROJECT_ID = 1  # `/Log/*` without a key records to it and reads from it

ProjectId: TypeAlias = Annotated[int, Field(ge=1, lt=2**31)]
