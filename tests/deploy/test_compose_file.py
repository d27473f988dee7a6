"""docker-compose.yml and .env.example: every container gets what its program reads, and no secret of another's."""

import base64
import re
from typing import Any

import pytest
import yaml
from dotenv import dotenv_values
from pydantic import SecretStr
from pydantic_settings import BaseSettings

from device_registration_api.accounts.settings import AccountSettings
from device_registration_api.inbox.settings import InboxSettings
from device_registration_api.maintenance.settings import DatabaseSettings, RetentionSettings
from device_registration_api.personal.keys import NumberedKeys
from device_registration_api.personal.settings import KeyringSettings
from device_registration_api.schema.settings import AdministratorSettings, LoginSettings
from device_registration_api.settings import Settings as PrivateSettings
from device_registration_api.webhooks.settings import WebhookSettings
from servicekit.service.settings import refuse_example_secrets
from statistics_api.settings import Settings as PublicSettings
from tests.deploy.rendering import ROOT

SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
EXAMPLES = {name: value or "" for name, value in dotenv_values(ROOT / ".env.example").items()}
READ_BY: dict[str, list[type[BaseSettings]]] = {
    "statistics-api": [PublicSettings],
    "device-registration-api": [PrivateSettings, AccountSettings, InboxSettings],
    "migrate": [AdministratorSettings, LoginSettings],
    "maintain": [DatabaseSettings, RetentionSettings, KeyringSettings, InboxSettings],
    "distribute": [AdministratorSettings],
    "webhooks": [DatabaseSettings, KeyringSettings, WebhookSettings],
}
PERSONAL_LOGIN = {"PERSONAL_DB_USER", "PERSONAL_DB_PASSWORD"}
KEYS = ("PERSONAL_KEKS", "PERSONAL_INDEX_KEYS", "TOKEN_SIGNING_KEYS")
# What each container gets of personal data and accounts.
PERSONAL = {
    "migrate": PERSONAL_LOGIN,
    "maintain": {*PERSONAL_LOGIN, "PERSONAL_KEKS"},
    "webhooks": {"PERSONAL_KEKS"},
    "device-registration-api": {*PERSONAL_LOGIN, *KEYS},
}
SECRETS = ("DB_PASSWORD", "READER_DB_PASSWORD", "POSTGRES_PASSWORD", "SERVICE_TOKEN", "PERSONAL_DB_PASSWORD", *KEYS)


def environment(service: str) -> dict[str, str]:
    found: dict[str, str] = SERVICES[service].get("environment", {})
    return found


@pytest.mark.parametrize("service", sorted(READ_BY))
def test_a_program_reads_every_variable_and_misses_none(service: str) -> None:
    fields = {name.upper(): field for each in READ_BY[service] for name, field in each.model_fields.items()}
    needed = {name for name, field in fields.items() if field.is_required()} - {"PORT"}
    assert needed <= set(environment(service))
    assert set(environment(service)) <= set(fields)


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_a_container_gets_nothing_of_personal_data_that_it_does_not_need(service: str) -> None:
    """By name, and by what the values refer to."""
    mine = PERSONAL.get(service, set())
    personal = re.compile(r"PERSONAL_|KEYRING_|TOKEN_SIGNING_")
    assert {name for name in environment(service) if personal.match(name)} == mine
    referred = {name for value in environment(service).values() for name in re.findall(r"\$\{(\w+)", str(value))}
    assert {name for name in referred if personal.match(name)} == mine


def test_the_example_has_a_line_for_everything_that_compose_needs() -> None:
    needed = re.findall(r"\$\{(\w+):\?", (ROOT / "docker-compose.yml").read_text())
    assert set(needed) <= EXAMPLES.keys()


@pytest.mark.parametrize("name", SECRETS)
def test_an_example_secret_is_valid_and_production_refuses_it(name: str) -> None:
    secret = EXAMPLES[name]
    refuse_example_secrets("development", {name: SecretStr(secret)})
    with pytest.raises(ValueError, match=f"^{name} still has its example value"):
        refuse_example_secrets("production", {name: SecretStr(secret)})
    if name in {"PERSONAL_KEKS", "PERSONAL_INDEX_KEYS"}:
        assert list(NumberedKeys(secret).by_number) == [1]
    elif name == "TOKEN_SIGNING_KEYS":
        [seed] = re.findall(r"^[A-Za-z0-9_-]{1,16}:([A-Za-z0-9_-]{43})$", secret)
        assert len(base64.urlsafe_b64decode(seed + "=")) == 32


def test_an_example_is_refused_in_any_place_of_a_list_and_a_key_of_ones_own_is_not() -> None:
    own = f"2:{base64.b64encode(b'o' * 32).decode()}"
    refuse_example_secrets("production", {"PERSONAL_KEKS": SecretStr(own)})
    with pytest.raises(ValueError, match="PERSONAL_KEKS"):
        refuse_example_secrets("production", {"PERSONAL_KEKS": SecretStr(f"{own},{EXAMPLES['PERSONAL_KEKS']}")})


@pytest.mark.parametrize("name", ["PERSONAL_DB_PASSWORD", *KEYS])
def test_the_private_service_refuses_each_example(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, EXAMPLES[name])
    assert getattr(AccountSettings(), name.lower()) is not None
    monkeypatch.setenv("ENVIRONMENT", "production")
    with pytest.raises(ValueError, match=f"{name} still has its example value"):
        AccountSettings()
