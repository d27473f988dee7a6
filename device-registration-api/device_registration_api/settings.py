"""Everything the private service reads from its environment; nothing else reads it."""

from pydantic import Field

from servicekit.service.settings import ServiceSettings


class Settings(ServiceSettings):
    """Adds the writer's limits to the settings of both services."""

    port: int = Field(default=8001, ge=1, le=65535)
    # Replicas x this, plus the readers', must stay below the server's max_connections.
    db_connections_max: int = Field(default=8, ge=2, le=100)
