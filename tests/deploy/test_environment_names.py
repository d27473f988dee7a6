"""What the manifests say to the programs is what the programs read: names, and everything that has no default."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic_settings import BaseSettings

from device_registration_api.accounts.settings import AccountSettings
from device_registration_api.inbox.settings import InboxSettings
from device_registration_api.maintenance.settings import DatabaseSettings, RetentionSettings
from device_registration_api.personal.settings import KeyringSettings
from device_registration_api.schema.settings import AdministratorSettings, LoginSettings
from device_registration_api.settings import Settings as PrivateSettings
from device_registration_api.webhooks.settings import WebhookSettings
from statistics_api.settings import Settings as PublicSettings
from tests.deploy.rendering import INSTALLATIONS, Document, environment, pods, variables

READ_BY: dict[str, list[type[BaseSettings]]] = {
    "statistics-api": [PublicSettings],
    # `rotate-keys` runs in its pods; AccountSettings has its settings.
    "device-registration-api": [PrivateSettings, AccountSettings, InboxSettings],
    "migrate": [AdministratorSettings, LoginSettings],
    "maintain": [DatabaseSettings, RetentionSettings, KeyringSettings, InboxSettings],
    "webhooks": [DatabaseSettings, KeyringSettings, WebhookSettings],
}
# For libpq, and inputs of kustomize that travel with the rest.
NOT_OURS = {"PGSSLMODE", "DB_EGRESS_CIDR", "DB_MAX_CONNECTIONS"}
LOGIN_OF_PERSONAL_DATA = {"PERSONAL_DB_USER", "PERSONAL_DB_PASSWORD"}
# Who gets what of personal data; URLs of databases that are elsewhere may be missing.
PERSONAL = {
    "statistics-api": set[str](),
    "postgres": set[str](),
    "citus-worker": set[str](),
    "distribute": set[str](),
    "device-registration-api": {*AccountSettings.names()},
    "migrate": LOGIN_OF_PERSONAL_DATA,
    "maintain": {*LOGIN_OF_PERSONAL_DATA, "PERSONAL_KEKS"},
    "webhooks": {"PERSONAL_KEKS"},
    "backup": {"PERSONAL_DB_USER", "PERSONAL_DATABASE_URL"},
    "backup-keyring": {"PERSONAL_DB_USER", "KEYRING_DATABASE_URL"},
}


def _fields(classes: list[type[BaseSettings]]) -> Iterator[tuple[str, Any]]:
    for each in classes:
        yield from ((name.upper(), field) for name, field in each.model_fields.items())


@pytest.mark.parametrize("installation", INSTALLATIONS)
def test_the_programs_read_every_variable_and_miss_none(installation: str, rendered: dict[str, list[Document]]) -> None:
    documents = rendered[installation]
    found = {
        pod.labels["app.kubernetes.io/name"]: set(variables(pod.spec["containers"][0], documents))
        for pod in pods(documents)
    }
    for name, classes in READ_BY.items():
        fields = dict(_fields(classes))
        needed = {each for each, field in fields.items() if field.is_required()}
        assert needed <= found[name], f"{name} would not start"
        assert found[name] - NOT_OURS <= set(fields), f"{name} does not read them"


@pytest.mark.parametrize("installation", INSTALLATIONS)
def test_a_pod_gets_nothing_of_personal_data_that_it_does_not_need(
    installation: str, rendered: dict[str, list[Document]]
) -> None:
    documents = rendered[installation]
    for pod in pods(documents):
        name = pod.labels["app.kubernetes.io/name"]
        names = {each for container in pod.containers for each in variables(container, documents)}
        got = {each for each in names if each.startswith(("PERSONAL_", "KEYRING_", "TOKEN_SIGNING_"))}
        assert got == PERSONAL[name], name


def test_an_installation_that_has_no_personal_data_yet_starts_as_before(rendered: dict[str, list[Document]]) -> None:
    """Its Secrets lack what `make k8s-secrets` adds: a reference to a key that is not there would hold up the pod."""
    for pod in pods(rendered["."]):
        for container in pod.containers:
            for variable in container.get("env", []):
                reference = variable.get("valueFrom", {}).get("secretKeyRef", {})
                if reference.get("key", "").startswith(("PERSONAL_", "KEYRING_", "INBOX_")):
                    assert reference["optional"] is True, f"{pod.name}: {variable['name']}"


def test_production_refuses_the_example_secrets(rendered: dict[str, list[Document]]) -> None:
    for pod in pods(rendered["."]):
        if pod.kind == "Deployment" or pod.labels["app.kubernetes.io/name"] == "migrate":
            assert environment(pod.containers[0])["ENVIRONMENT"]["value"] == "production"


def test_the_public_service_calls_the_private_services_address(rendered: dict[str, list[Document]]) -> None:
    [public] = [pod for pod in pods(rendered["."]) if pod.name == "statistics-api"]
    assert environment(public.containers[0])["DEVICE_API_URL"]["value"] == "http://device-registration-api:8001"
