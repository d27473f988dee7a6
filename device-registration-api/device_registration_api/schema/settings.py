"""What an administrator's commands read from the environment."""

from typing import Annotated, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

# PostgreSQL cuts longer names silently, and two cut names can be the same one.
RoleName = Annotated[str, Field(min_length=1, max_length=63)]


class AdministratorSettings(BaseSettings):
    """Who may change the schema, and where; the database named in the URL is made when it is absent."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    database_url: SecretStr


class LoginSettings(BaseSettings):
    """The login roles of one installation: one for each service."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    writer_db_user: RoleName
    writer_db_password: SecretStr
    reader_db_user: RoleName
    reader_db_password: SecretStr

    @model_validator(mode="after")
    def _are_two(self) -> Self:
        if self.writer_db_user == self.reader_db_user:
            raise ValueError("WRITER_DB_USER and READER_DB_USER must differ: one of them may only read")
        return self
