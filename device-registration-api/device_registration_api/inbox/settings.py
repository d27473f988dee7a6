"""Where the inbox is. Without a URL there is none, and nothing here is required."""

from typing import Self

from pydantic import SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from servicekit.service.settings import Environment, refuse_example_secrets


class InboxSettings(BaseSettings):
    """The database of the inbox, and the login that may use it alone."""

    model_config = SettingsConfigDict(env_ignore_empty=True, hide_input_in_errors=True)

    environment: Environment = "development"
    # Only its place is used: it may be the administrator's.
    inbox_database_url: SecretStr | None = None
    inbox_db_user: str | None = None
    inbox_db_password: SecretStr | None = None

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.inbox_database_url is not None and None in (self.inbox_db_user, self.inbox_db_password):
            raise ValueError("INBOX_DATABASE_URL is set: set INBOX_DB_USER and INBOX_DB_PASSWORD, too")
        return self

    @model_validator(mode="after")
    def _no_example_secrets_in_production(self) -> Self:
        refuse_example_secrets(self.environment, {"INBOX_DB_PASSWORD": self.inbox_db_password})
        return self
