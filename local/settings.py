"""Everything that `make run` reads from its environment or from a file `.env` beside the Makefile."""

import os
from pathlib import Path
from typing import Annotated, Self

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings

from local.services import ROOT

INBOX_URL = "INBOX_DATABASE_URL"
Port = Annotated[int, Field(ge=1, le=65535)]


class SettingsError(Exception):
    """A setting cannot be used; the message is one sentence that names it."""


class Settings(BaseSettings):
    """The launcher's own settings; the services read theirs from the environment that it hands on."""

    statistics_port: Port = 8000
    registration_port: Port = 8001
    public_workers: Annotated[int, Field(ge=1, le=64)] = 1
    # Of the public service; the private one has the next number.
    metrics_port: Annotated[int, Field(ge=1, le=65534)] | None = None
    data_dir: Path = Path(".data")
    # An administrator's; when set, that server is used and nothing is embedded.
    database_url: SecretStr | None = None

    @model_validator(mode="after")
    def _ports_differ(self) -> Self:
        if self.statistics_port == self.registration_port:
            raise ValueError("STATISTICS_PORT and REGISTRATION_PORT must differ")
        return self

    def of_the_private_service(self) -> dict[str, str]:
        """The variables that the private service gets in place of those of the public one."""
        return {} if self.metrics_port is None else {"METRICS_PORT": str(self.metrics_port + 1)}


def handed_on() -> dict[str, str]:
    """The variables that every child gets: what this process has, without what it sets itself or withholds."""
    # The administrator's password is for the migration alone; what a `.env` that serves Compose says of personal data
    # is about another installation; and the public service uses no inbox.
    withheld = ("DATABASE_URL", "PERSONAL_", "KEYRING_", "INBOX_", "TOKEN_SIGNING_")
    return {name: value for name, value in os.environ.items() if not name.startswith(withheld)}


def databases_elsewhere() -> dict[str, str]:
    """The URLs of databases that are not beside the first one: those of personal data, and the inbox."""
    names = ("PERSONAL_DATABASE_URL", "KEYRING_DATABASE_URL", INBOX_URL)
    return {name: os.environ[name] for name in names if os.environ.get(name)}


def read_settings() -> Settings:
    """Read the environment; what `.env` says counts where the environment is silent, for the services too.

    Raises SettingsError.
    """
    for name, value in dotenv_values(ROOT / ".env").items():
        os.environ.setdefault(name, value or "")
    if not os.environ.get("DATABASE_URL"):  # an empty line in .env means none
        os.environ.pop("DATABASE_URL", None)
    try:
        return Settings()
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        reasons = ["".join(f"{str(part).upper()}: " for part in each["loc"]) + each["msg"] for each in found]
        raise SettingsError("; ".join(reasons) + ".") from error
