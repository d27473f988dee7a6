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
    # The databases of personal data, by default on the same server, named after the first one.
    personal_database_url: SecretStr | None = None
    keyring_database_url: SecretStr | None = None
    # The database of the inbox, on another server; without it there is none.
    inbox_database_url: SecretStr | None = None
    # The time that `migrate` waits for a server that does not run yet: on EKS its node and its volume take minutes.
    database_wait_seconds_max: float = Field(default=600, ge=0, le=86_400)
    # libpq's own variable, read here only to be checked: Compose passes POSTGRES_PASSWORD in it, because in a URL some
    # characters need escaping.
    pgpassword: SecretStr | None = None

    @model_validator(mode="after")
    def _no_example_password_in_production(self) -> Self:
        urls = {
            "DATABASE_URL": self.database_url,
            "PERSONAL_DATABASE_URL": self.personal_database_url,
            "KEYRING_DATABASE_URL": self.keyring_database_url,
            "INBOX_DATABASE_URL": self.inbox_database_url,
        }
        for name, url in urls.items():
            try:
                password = None if url is None else parse_dsn(url.get_secret_value()).get("password")
            except psycopg2.ProgrammingError:
                continue  # `connect` reports the invalid URL, without repeating it
            if password:
                refuse_example_secrets(self.environment, {f"{name}'s password": SecretStr(password)})
            elif url is not None:
                refuse_example_secrets(
                    self.environment, {"PGPASSWORD (in Compose: POSTGRES_PASSWORD)": self.pgpassword}
                )
        return self


class LoginSettings(BaseSettings):
    """The login roles of one installation: one for each service, one for personal data, and one for the inbox.

    Without the third one, the databases of personal data are not made. The last one is needed with INBOX_DATABASE_URL.
    """

    model_config = SettingsConfigDict(env_ignore_empty=True, hide_input_in_errors=True)

    environment: Environment = "development"
    writer_db_user: RoleName
    writer_db_password: SecretStr
    reader_db_user: RoleName
    reader_db_password: SecretStr
    personal_db_user: RoleName | None = None
    personal_db_password: SecretStr | None = None
    inbox_db_user: RoleName | None = None
    inbox_db_password: SecretStr | None = None

    @model_validator(mode="after")
    def _are_two(self) -> Self:
        if self.writer_db_user == self.reader_db_user:
            raise ValueError("WRITER_DB_USER and READER_DB_USER must differ: one of them may only read")
        return self

    @model_validator(mode="after")
    def _personal_data_has_a_login_of_its_own(self) -> Self:
        if (self.personal_db_user is None) != (self.personal_db_password is None):
            raise ValueError("PERSONAL_DB_USER and PERSONAL_DB_PASSWORD belong together: set both or neither")
        if self.personal_db_user in (self.writer_db_user, self.reader_db_user):
            raise ValueError("PERSONAL_DB_USER must differ from the other logins: only it may see personal data")
        return self

    @model_validator(mode="after")
    def _the_inbox_has_a_login_of_its_own(self) -> Self:
        if self.inbox_db_user in {self.writer_db_user, self.reader_db_user, self.personal_db_user} - {None}:
            raise ValueError("INBOX_DB_USER must differ from the other logins: it may use the inbox alone")
        return self

    @model_validator(mode="after")
    def _no_example_passwords_in_production(self) -> Self:
        passwords = {
            "WRITER_DB_PASSWORD": self.writer_db_password,
            "READER_DB_PASSWORD": self.reader_db_password,
            "PERSONAL_DB_PASSWORD": self.personal_db_password,
            "INBOX_DB_PASSWORD": self.inbox_db_password,
        }
        refuse_example_secrets(self.environment, passwords)
        return self
