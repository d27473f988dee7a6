"""Everything the public service reads from its environment; nothing else reads it."""

from ipaddress import IPv4Network, IPv6Network
from typing import Annotated

from limits import RateLimitItem, parse
from pydantic import AnyHttpUrl, BeforeValidator, Field
from pydantic_settings import NoDecode

from servicekit.service.settings import ServiceSettings


def _comma_separated(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _rate(value: object) -> object:
    return parse(value) if isinstance(value, str) else value


class Settings(ServiceSettings):
    """Adds the URL of the private service, and the settings of a public server, to the settings of both services."""

    model_config = ServiceSettings.model_config | {"arbitrary_types_allowed": True}

    port: int = Field(default=8000, ge=1, le=65535)
    workers: int = Field(default=1, ge=1, le=64)
    device_api_url: AnyHttpUrl
    # Workers x replicas x this, plus the writers', must stay below the server's max_connections.
    db_connections_max: int = Field(default=4, ge=2, le=100)

    # Origins that a browser may call from, comma-separated; none by default.
    cors_origins: Annotated[list[str], NoDecode, BeforeValidator(_comma_separated)] = Field(default=[])
    # Requests per client address, like "600/minute"; unlimited by default.
    rate_limit: Annotated[RateLimitItem | None, BeforeValidator(_rate)] = None
    # Networks of proxies with a trusted X-Forwarded-For header, comma-separated, like "10.0.0.0/8".
    trusted_proxies: Annotated[list[IPv4Network | IPv6Network], NoDecode, BeforeValidator(_comma_separated)] = Field(
        default=[]
    )
