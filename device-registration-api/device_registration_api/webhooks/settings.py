"""What sending reads from the environment."""

from ipaddress import IPv4Network, IPv6Network
from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


def _comma_separated(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class WebhookSettings(BaseSettings):
    """Which private networks a webhook may reach, beside every public address; none by default."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    webhook_allowed_networks: Annotated[
        list[IPv4Network | IPv6Network], NoDecode, BeforeValidator(_comma_separated)
    ] = Field(default=[])
