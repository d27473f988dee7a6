"""What the service and the commands read from the environment about API keys."""

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class AccessSettings(BaseSettings):
    """How many keys of a project may be active at the same time, and what verifies imported ones."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    api_keys_max: int = Field(default=10, ge=1, le=1_000)
    # The SECURITY_KEY of the api-analytics whose API keys were imported.
    imported_key_secret: SecretStr | None = None
