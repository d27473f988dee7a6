"""Everything the private service reads from its environment; nothing else reads it."""

from pydantic import Field

from device_registration_api.access.settings import AccessSettings
from servicekit.service.settings import ServiceSettings


class Settings(AccessSettings, ServiceSettings):
    """Adds the writer's limits, and those of API keys, to the settings of both services."""

    model_config = ServiceSettings.model_config

    port: int = Field(default=8001, ge=1, le=65535)
    # Replicas x this, plus the readers', must stay below the server's max_connections.
    db_connections_max: int = Field(default=8, ge=2, le=100)
