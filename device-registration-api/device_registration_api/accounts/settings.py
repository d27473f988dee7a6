"""What accounts read from the environment."""

from typing import Annotated

from pydantic import AfterValidator, SecretStr

from device_registration_api.accounts.tokens import SigningKeys
from device_registration_api.personal.settings import PeopleSettings

# Without one of these, an installation has no accounts. A URL of a database has a default.
_NEEDED = (
    "personal_db_user",
    "personal_db_password",
    "personal_keks",
    "personal_index_keys",
    "token_signing_keys",
)


def _valid(keys: SecretStr) -> SecretStr:
    SigningKeys(keys.get_secret_value())
    return keys


class AccountSettings(PeopleSettings):
    """Adds the keys that sign tokens. Nothing is required where accounts are not used."""

    token_signing_keys: Annotated[SecretStr, AfterValidator(_valid)] | None = None

    def missing(self) -> list[str]:
        """Return the names of the settings that accounts need and that are not set."""
        return [name.upper() for name in _NEEDED if getattr(self, name) is None]

    def signing_keys(self) -> SigningKeys | None:
        """Return the keys that sign tokens, if accounts are configured."""
        if self.missing() or self.token_signing_keys is None:
            return None
        return SigningKeys(self.token_signing_keys.get_secret_value())

    @staticmethod
    def names() -> list[str]:
        """Return the names of all settings that accounts need."""
        return [name.upper() for name in _NEEDED]
