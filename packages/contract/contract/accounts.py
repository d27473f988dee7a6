"""Accounts of people who administer projects, and the tokens that prove them."""

from datetime import datetime
from typing import Annotated, Literal, TypeAlias
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from contract.text import ShortText

EMAIL_CHARACTERS_MAX = 254
PASSWORD_CHARACTERS_MAX = 1_024

# What a token says of itself: who issued it, and what it is for.
ISSUER = "device-registration-api"
SIGNING_ALGORITHM = "EdDSA"
ACCOUNT_AUDIENCE = "account"
PROJECT_AUDIENCE = "project"
CLAIMS_REQUIRED = ("aud", "exp", "iss", "sub")
# The number of a token's signing key: `kid` in its header.
SIGNING_KEY_ID_PATTERN = r"^[A-Za-z0-9_-]{1,16}$"

Email: TypeAlias = Annotated[ShortText, Field(max_length=EMAIL_CHARACTERS_MAX)]
# Any Unicode text, unchanged. `repr=False`: a model may end in a log or in a traceback.
Password: TypeAlias = Annotated[str, Field(min_length=1, max_length=PASSWORD_CHARACTERS_MAX, repr=False)]


class Registration(BaseModel):
    """A new account."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"email": "Ana.Test@example.com", "password": "marble-otter-canyon-91", "full_name": "Ana Test"}
            ]
        }
    )

    email: Email = Field(repr=False, description="Unique, whatever its case. It is shown as it was written here.")
    password: Password = Field(description="One that is hard to guess, as zxcvbn estimates it: a score of 3 or 4.")
    full_name: ShortText | None = Field(default=None, repr=False)


class RegistrationAttempt(Registration):
    """The same between the services, with the client's idempotency key."""

    idempotency_key: str | None = Field(default=None, min_length=1, max_length=255)


class Login(BaseModel):
    """The credentials of an account."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"email": "ana.test@example.com", "password": "marble-otter-canyon-91"}]}
    )

    email: Email = Field(repr=False, description="In any case.")
    password: Password


class LoginAttempt(Login):
    """The same between the services: `client` names the network that the attempt came from."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"email": "ana.test@example.com", "password": "marble-otter-canyon-91", "client": "203.0.113.7"}
            ]
        }
    )

    client: str = Field(max_length=64, repr=False)


class AccountResponse(BaseModel):
    """An account as its owner sees it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "email": "Ana.Test@example.com",
                    "full_name": "Ana Test",
                    "is_active": True,
                    "created_at": "2026-11-30T10:00:00Z",
                }
            ]
        }
    )

    email: str
    full_name: str | None
    is_active: bool
    created_at: datetime


class OwnAccount(AccountResponse):
    """An account with its id, by which an owner of a project adds it as a member."""

    id: UUID


class AccountState(BaseModel):
    """What an account may do now. It is no personal data."""

    is_active: bool
    is_operator: bool


class AccessToken(BaseModel):
    """A token for `Authorization: Bearer`, and the seconds that it lives."""

    access_token: str = Field(repr=False)
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - RFC 6750's name of its kind
    expires_in: int


class TokenKey(BaseModel):
    """A public key as RFC 8037 writes it in JSON."""

    kty: Literal["OKP"] = "OKP"
    crv: Literal["Ed25519"] = "Ed25519"
    use: Literal["sig"] = "sig"
    alg: Literal["EdDSA"] = "EdDSA"
    kid: str = Field(pattern=SIGNING_KEY_ID_PATTERN)
    x: str = Field(pattern=r"^[A-Za-z0-9_-]{43}$")


class TokenKeys(BaseModel):
    """The keys that tokens are verified with (a JWK set, RFC 7517)."""

    keys: list[TokenKey]
