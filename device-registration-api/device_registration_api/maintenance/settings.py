"""What maintenance reads from the environment: the private service's own login, and how long facts are kept."""

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from servicekit.service.settings import ServiceSettings


class DatabaseSettings(BaseSettings):
    """The private service's database and login; DB_HOST may be the folder of a Unix socket."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    db_host: str
    db_port: int = Field(default=5432, ge=1, le=65535)
    db_name: str
    db_user: str
    db_password: SecretStr

    @classmethod
    def of(cls, service: ServiceSettings) -> "DatabaseSettings":
        """Return the same settings of the running service."""
        return cls.model_validate(service.model_dump(include={*cls.model_fields}))


class RetentionSettings(BaseSettings):
    """How long a fact is kept, counted from its reception; its count is kept for ever."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    retention_days: int = Field(default=400, ge=0, le=36_500)  # 0: for ever
