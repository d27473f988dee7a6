"""What the private service and its commands read for personal data."""

from typing import Annotated, Self

from pydantic import AfterValidator, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from device_registration_api.personal.keys import NumberedKeys
from device_registration_api.schema.connect import CommandError
from servicekit.service.settings import Environment, refuse_example_secrets


def _valid(keys: SecretStr) -> SecretStr:
    NumberedKeys(keys.get_secret_value())
    return keys


class KeyringSettings(BaseSettings):
    """The login of personal data and the key-encryption keys. Nothing is required where personal data is not used."""

    model_config = SettingsConfigDict(env_ignore_empty=True, hide_input_in_errors=True)

    environment: Environment = "development"
    personal_db_user: str | None = None
    personal_db_password: SecretStr | None = None
    personal_database_url: SecretStr | None = None
    keyring_database_url: SecretStr | None = None
    personal_keks: Annotated[SecretStr, AfterValidator(_valid)] | None = None

    @model_validator(mode="after")
    def _no_example_secrets_in_production(self) -> Self:
        # Those of the classes below, too.
        secrets = {name.upper(): value for name, value in self if isinstance(value, SecretStr)}
        refuse_example_secrets(self.environment, secrets)
        return self

    def is_complete(self) -> bool:
        """Whether there are a login and keys."""
        return None not in (self.personal_db_user, self.personal_db_password, self.personal_keks)

    def keks(self) -> NumberedKeys:
        """Return the key-encryption keys. Raises CommandError where there are none."""
        return _required(self.personal_keks, "PERSONAL_KEKS")


class PeopleSettings(KeyringSettings):
    """Adds the keys of the blind indexes, by which people are found."""

    personal_index_keys: Annotated[SecretStr, AfterValidator(_valid)] | None = None

    def index_keys(self) -> NumberedKeys:
        """Return the keys of the blind indexes. Raises CommandError where there are none."""
        return _required(self.personal_index_keys, "PERSONAL_INDEX_KEYS")


def _required(keys: SecretStr | None, name: str) -> NumberedKeys:
    if keys is None:
        message = f"set {name} in the environment"
        raise CommandError(message)
    return NumberedKeys(keys.get_secret_value())
