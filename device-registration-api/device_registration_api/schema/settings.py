"""What an administrator's commands read from the environment."""

from typing import Annotated, Self

import psycopg2
from psycopg2.extensions import parse_dsn
from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from servicekit.service.settings import Environment, refuse_example_secrets

# PostgreSQL cuts longer names silently, and two cut names can be the same one.
RoleName = Annotated[str, Field(min_length=1, max_length=63)]


class AdministratorSettings(BaseSettings):
    """The administrator's connection; the database that the URL names is created if it does not exist."""

    model_config = SettingsConfigDict(env_ignore_empty=True, hide_input_in_errors=True)

    environment: Environment = "development"
    database_url: SecretStr
    # The time that `migrate` waits for a server that does not run yet: on EKS its node and its volume take minutes.
    database_wait_seconds_max: float = Field(default=600, ge=0, le=86_400)
    # libpq's own variable, read here only to be checked: Compose passes POSTGRES_PASSWORD in it, because in a URL some
    # characters need escaping.
    pgpassword: SecretStr | None = None

    @model_validator(mode="after")
    def _no_example_password_in_production(self) -> Self:
        try:
            in_url = parse_dsn(self.database_url.get_secret_value()).get("password")
        except psycopg2.ProgrammingError:
            return self  # `connect` reports the invalid URL, without repeating it
        if in_url:
            refuse_example_secrets(self.environment, {"DATABASE_URL's password": SecretStr(in_url)})
        else:
            refuse_example_secrets(self.environment, {"PGPASSWORD (in Compose: POSTGRES_PASSWORD)": self.pgpassword})
        return self


class LoginSettings(BaseSettings):
    """The login roles of one installation: one for each service."""

    model_config = SettingsConfigDict(env_ignore_empty=True, hide_input_in_errors=True)

    environment: Environment = "development"
    writer_db_user: RoleName
    writer_db_password: SecretStr
    reader_db_user: RoleName
    reader_db_password: SecretStr

    @model_validator(mode="after")
    def _are_two(self) -> Self:
        if self.writer_db_user == self.reader_db_user:
            raise ValueError("WRITER_DB_USER and READER_DB_USER must differ: one of them may only read")
        return self

    @model_validator(mode="after")
    def _no_example_passwords_in_production(self) -> Self:
        passwords = {"WRITER_DB_PASSWORD": self.writer_db_password, "READER_DB_PASSWORD": self.reader_db_password}
        refuse_example_secrets(self.environment, passwords)
        return self
