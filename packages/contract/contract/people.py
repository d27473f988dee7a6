"""Persons of projects: family 2 calls them users, and so does family 4, where a project is a store."""

from typing import Annotated, Any, TypeAlias
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, StringConstraints, field_validator

from contract.accounts import Email
from contract.devices import Device
from contract.projects import not_null
from contract.text import ShortText, readable

LIST_MAX = 100
SKIP_MAX = 2**31 - 1
NAME_CHARACTERS_MAX = 300
PHONE_DIGITS_MAX = 15
IMPORTED_ID_DIGITS_MAX = 255


def _phone(value: Any) -> int | str:  # noqa: ANN401 - pydantic hands over whatever the client sent
    # A boolean is a number in Python, and none in JSON.
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**PHONE_DIGITS_MAX:
        return value
    if isinstance(value, str) and len(value) <= PHONE_DIGITS_MAX and value.isascii() and value.isdigit():
        return value
    message = f"must be 1 to {PHONE_DIGITS_MAX} digits: a number, or a string, which keeps leading zeros"
    raise ValueError(message)


# Digits alone, shown as they were sent: a number as a number.
Phone: TypeAlias = Annotated[
    int | str,
    PlainValidator(
        _phone,
        json_schema_input_type=Annotated[int, Field(ge=0, lt=10**PHONE_DIGITS_MAX)]
        | Annotated[str, Field(pattern=f"^[0-9]{{1,{PHONE_DIGITS_MAX}}}$")],
    ),
]
PersonName: TypeAlias = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=NAME_CHARACTERS_MAX),
    AfterValidator(readable),
]


class _Personal(BaseModel):
    """A model with personal data: an error about it, which may end in a log, does not repeat it."""

    model_config = ConfigDict(hide_input_in_errors=True)


class UserDraft(_Personal):
    """The fields of a new user in family 2. E-mail address and name are unique in the project, whatever their case."""

    model_config = ConfigDict(
        frozen=True, json_schema_extra={"examples": [{"username": "ana", "email": "Ana.Test@example.com"}]}
    )

    username: ShortText = Field(repr=False)
    email: Email = Field(repr=False)


class StoreUserDraft(UserDraft):
    """The fields of a new user of a store."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "email": "Bob.Test@example.com",
                    "username": "bob",
                    "first_name": "Bob",
                    "last_name": "Test",
                    "phone": "004915112345678",
                }
            ]
        },
    )

    first_name: PersonName = Field(repr=False)
    last_name: PersonName = Field(repr=False)
    phone: Phone = Field(repr=False, description="Digits alone; as a string they keep leading zeros.")


class UserChange(_Personal):
    """The fields of a user that change. A field that is absent stays."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"examples": [{"username": "ana-2"}]})

    username: ShortText | None = Field(default=None, repr=False)
    email: Email | None = Field(default=None, repr=False)

    @field_validator("*", mode="before")
    @classmethod
    def _not_null(cls, value: Any) -> Any:  # noqa: ANN401 - whatever the client sent
        return not_null(value)


class StoreUserChange(UserChange):
    """The user of a store with this e-mail address, or else with this name, and the fields that change."""

    model_config = ConfigDict(
        frozen=True, json_schema_extra={"examples": [{"email": "bob.test@example.com", "first_name": "Robert"}]}
    )

    first_name: PersonName | None = Field(default=None, repr=False)
    last_name: PersonName | None = Field(default=None, repr=False)
    phone: Phone | None = Field(default=None, repr=False)


class PersonDraft(UserDraft):
    """The fields of a new person between the services, with the client's idempotency key."""

    model_config = ConfigDict(
        frozen=True, json_schema_extra={"examples": [{"username": "eve", "email": "Eve.Test@example.com"}]}
    )

    first_name: PersonName | None = Field(default=None, repr=False)
    last_name: PersonName | None = Field(default=None, repr=False)
    phone: Phone | None = Field(default=None, repr=False)
    idempotency_key: str | None = Field(default=None, min_length=1, max_length=255)


class PersonId(_Personal):
    """Which person it is."""

    id: UUID


class User(PersonId):
    """A user in family 2. A person without an e-mail address or a name was imported without."""

    username: str | None = None
    email: str | None = None


class UserWithDevices(User):
    """A user, and the devices that are the user's, the oldest first."""

    devices: list[Device]


class Person(User):
    """Every field of a person."""

    first_name: str | None = None
    last_name: str | None = None
    phone: int | str | None = None


class StoreUser(Person):
    """A user of a store; `store_id` is the number of the project."""

    store_id: int
