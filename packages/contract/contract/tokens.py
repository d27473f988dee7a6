"""Tokens of accounts and of projects: what is exchanged for a project's, and what each kind says of itself."""

from typing import Annotated, Literal, TypeAlias
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from contract.access import KEY_ID_PATTERN
from contract.projects import ProjectId


class ProjectLogin(BaseModel):
    """An API key, in exchange for a token."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"api_key": "ds_live_0aZ1bY2cX3dW_" + "k" * 43 + "000000"}]}
    )

    api_key: str = Field(max_length=255, repr=False, description="A key of the project; it decides what the token may.")


class ProjectToken(BaseModel):
    """A project's token for `Authorization: Bearer`, and the seconds that it lives."""

    access_token: str = Field(repr=False)
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - as family 4 writes it
    expires_in: int


class _Claims(BaseModel):
    exp: int = Field(lt=2**53, description="Seconds since the epoch.")


class AccountClaims(_Claims):
    """The claims of an account's token that were verified; `sub` is the account."""

    aud: Literal["account"]
    sub: UUID


class ProjectClaims(_Claims):
    """The claims of a project's token that were verified: `sub` is the number of the project, and `api_key` the id of
    the key that it was made for, which says what it may do.
    """

    aud: Literal["project"]
    sub: Annotated[str, Field(pattern=r"^[1-9][0-9]{0,9}$")]
    api_key: Annotated[str, Field(pattern=KEY_ID_PATTERN)]

    @property
    def project_id(self) -> ProjectId:
        """The number of the project."""
        return int(self.sub)


TokenClaims: TypeAlias = Annotated[AccountClaims | ProjectClaims, Field(discriminator="aud")]
