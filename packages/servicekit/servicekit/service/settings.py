"""Settings that both services read from the environment, with the same names."""

import base64
import os
import socket
import sys
from collections.abc import Mapping
from typing import Literal, TypeVar

from pydantic import Field, HttpUrl, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from servicekit.database.connection_string import dsn
from servicekit.process.logs import LogFormat

# The secrets in .env.example begin with this; production refuses them.
EXAMPLE_SECRET_PREFIX = "change-me"  # noqa: S105 - it is the mark of a value that is not a secret
# The same nine bytes in base64, in which the prefix of an example key is written: nine bytes need no padding.
_ENCODED_PREFIX = base64.b64encode(EXAMPLE_SECRET_PREFIX.encode()).decode()

Environment = Literal["development", "production"]
Settings = TypeVar("Settings", bound=BaseSettings)


def read_settings(kind: type[Settings]) -> Settings:
    """Read the settings from the environment. A missing or wrong setting ends the process with a sentence that names
    the setting and never shows a value.
    """
    try:
        return kind()
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        reasons = (
            ": ".join([*(str(part).upper() for part in each["loc"]), each["msg"].removeprefix("Value error, ")])
            for each in found
        )
        sys.exit("; ".join(reasons))


def secret_bytes(secret: SecretStr | None) -> bytes | None:
    """Return an optional secret as bytes."""
    return None if secret is None else secret.get_secret_value().encode()


def refuse_example_secrets(environment: Environment, secrets: Mapping[str, SecretStr | None]) -> None:
    """Raise ValueError, with the name of the setting, when a secret in production has its value of .env.example.

    A secret is a text, or a list of keys like `2:<base64>,1:<base64>`, of which none may be an example.
    """
    for name, secret in secrets.items():
        if environment == "production" and secret is not None and _is_example(secret.get_secret_value()):
            message = f"{name} still has its example value; set a secret of your own"
            raise ValueError(message)


def _is_example(secret: str) -> bool:
    keys = (part.partition(":")[2] for part in secret.split(","))
    return secret.startswith(EXAMPLE_SECRET_PREFIX) or any(key.startswith(_ENCODED_PREFIX) for key in keys)


class ServiceSettings(BaseSettings):
    """The settings of both services: the address to listen on, the database, the tokens of callers."""

    model_config = SettingsConfigDict(env_ignore_empty=True, hide_input_in_errors=True)

    host: str = "127.0.0.1"
    port: int = Field(ge=1, le=65535)
    # Answers scrapes of Prometheus on the same address; without it, nothing does.
    metrics_port: int | None = Field(default=None, ge=1, le=65535)
    environment: Environment = "development"
    log_format: LogFormat | None = None
    # Between SIGTERM and the end of service, for balancers that follow /readyz. Kubernetes sleeps in preStop instead.
    drain_seconds: float = Field(default=0, ge=0, le=60)
    # The limit of each process; requests beyond it are refused at once. An accepted request waits for those before it,
    # so this number divided by the throughput is the longest wait: 600 at 3,000/s are 0.2 s. During a lasting overload
    # the limit is lower: see servicekit.concurrency.concurrency_limit.
    in_flight_max: int = Field(default=600, ge=1)
    # Identifies the process within its service. It chooses the counter slot, so that two writers rarely share a row.
    instance_id: str = Field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}")

    # OpenTelemetry's own names; what else it reads from the environment, such as headers, is the SDK's matter.
    otel_exporter_otlp_endpoint: HttpUrl | None = None
    otel_traces_sampler_arg: float = Field(default=0.01, ge=0, le=1)

    db_host: str
    db_port: int = 5432
    db_name: str
    db_user: str
    db_password: SecretStr  # no default: a missing secret stops the start, not a request

    service_token: SecretStr = Field(min_length=16)
    # The previous token, which is accepted during a rotation.
    service_token_previous: SecretStr | None = None

    @model_validator(mode="after")
    def _no_example_secrets_in_production(self) -> "ServiceSettings":
        secrets = {
            "DB_PASSWORD": self.db_password,
            "SERVICE_TOKEN": self.service_token,
            "SERVICE_TOKEN_PREVIOUS": self.service_token_previous,
        }
        refuse_example_secrets(self.environment, secrets)
        return self

    def dsn(self, application: str) -> str:
        """Return the libpq connection string. It contains the password, so it is never logged."""
        return dsn(
            host=self.db_host,
            port=self.db_port,
            name=self.db_name,
            user=self.db_user,
            password=self.db_password.get_secret_value(),
            application=application,
        )
