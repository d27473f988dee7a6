"""The pools of `personal` and `keyring` in a process, and the people in them. They connect at their first use."""

from device_registration_api.maintenance.settings import DatabaseSettings
from device_registration_api.personal.blind_index import BlindIndex
from device_registration_api.personal.connect import place_apart
from device_registration_api.personal.keeper import Keeper
from device_registration_api.personal.people import People
from device_registration_api.personal.settings import PeopleSettings
from device_registration_api.schema.schemas import KEYRING, PERSONAL, Schema
from servicekit.database.connection_string import dsn
from servicekit.database.pool import Database

# Requests for personal data are rare beside events: few connections for each process and each of the two databases.
CONNECTIONS_MAX = 2
_WAIT_SECONDS_MAX = 2.0


class PersonalData:
    """The two databases of personal data, the people in them, and the index that finds a person."""

    def __init__(self, settings: PeopleSettings, beside: DatabaseSettings, application: str) -> None:
        """`beside` is the first database, beside which the others are by default.

        Raises:
            CommandError: a setting is missing, or a URL is invalid.
        """

        def pool(schema: Schema) -> Database:
            place = place_apart(schema, beside, settings)
            return Database(
                dsn(
                    host=place.db_host,
                    port=place.db_port,
                    name=place.db_name,
                    user=place.db_user,
                    password=place.db_password.get_secret_value(),
                    application=application,
                ),
                connections_max=CONNECTIONS_MAX,
                wait_seconds_max=_WAIT_SECONDS_MAX,
            )

        self.personal = pool(PERSONAL)
        self._keyring = pool(KEYRING)
        self.index = BlindIndex(settings.index_keys())
        self.people = People(self.personal, self._keyring, Keeper(settings.keks()), self.index)

    def close(self) -> None:
        """Wait for running work, then close every connection."""
        self.personal.close()
        self._keyring.close()


def new_personal_data(settings: PeopleSettings, beside: DatabaseSettings, application: str) -> PersonalData | None:
    """Return the personal data of an installation, or None where the operator has not configured it.

    Raises:
        CommandError: a URL is invalid.
    """
    if not settings.is_complete() or settings.personal_index_keys is None:
        return None
    return PersonalData(settings, beside, application)
