"""Everything the public service reads from its environment; nothing else reads it."""

from ipaddress import IPv4Network, IPv6Network
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from limits import RateLimitItem, parse
from pydantic import AfterValidator, AnyHttpUrl, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from servicekit.service.settings import ServiceSettings

_STORE_SCHEMES = ("redis", "rediss", "valkey", "valkeys")


def _comma_separated(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _rate(value: object) -> object:
    return parse(value) if isinstance(value, str) else value


def _store_url(value: SecretStr | None) -> SecretStr | None:
    if value is not None and not _is_store_url(value.get_secret_value()):
        # A constant sentence: the parser's own errors quote parts of the URL, which may be parts of the password.
        raise ValueError(
            "must be redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE], or rediss:// for TLS, or valkey://; "
            "of parameters only those that begin with ssl_; special characters of the password percent-encoded"
        )
    return value


def _is_store_url(text: str) -> bool:
    try:
        url = urlsplit(text)
        is_port = url.port is None or url.port > 0
    except ValueError:
        return False
    return (
        url.scheme in _STORE_SCHEMES
        and bool(url.hostname)
        and is_port
        and not url.fragment
        and (url.path in ("", "/") or (url.path[1:].isascii() and url.path[1:].isdecimal()))
        # Others would override the time-outs.
        and all(name.startswith("ssl_") for name, _ in parse_qsl(url.query, keep_blank_values=True))
        and text.isprintable()
        and " " not in text
    )


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
    # Whether the overview is shown without a log-in. What it shows, `/Log/auth/statistics` says to anybody, too.
    dashboard_public: bool = False
    # Requests per client address, like "600/minute"; unlimited by default.
    rate_limit: Annotated[RateLimitItem | None, BeforeValidator(_rate)] = None
    # A Redis or Valkey server in which all processes and replicas share that limit; each has its own by default.
    redis_url: Annotated[SecretStr | None, AfterValidator(_store_url)] = None
    # The SECURITY_KEY of the api-analytics whose API keys were imported.
    imported_key_secret: SecretStr | None = None
    # Networks of proxies with a trusted X-Forwarded-For header, comma-separated, like "10.0.0.0/8".
    trusted_proxies: Annotated[list[IPv4Network | IPv6Network], NoDecode, BeforeValidator(_comma_separated)] = Field(
        default=[]
    )
