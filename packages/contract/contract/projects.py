"""Projects: every event belongs to one."""

from typing import Annotated, TypeAlias

from pydantic import Field

from contract.text import ShortText

DEFAULT_PROJECT_ID = 1  # `/Log/*` without a key records to it and reads from it
NAME_CHARACTERS_MAX = 100

ProjectId: TypeAlias = Annotated[int, Field(ge=1, lt=2**31)]
# The name of a project, or of one of its keys.
ProjectName: TypeAlias = Annotated[ShortText, Field(max_length=NAME_CHARACTERS_MAX)]
