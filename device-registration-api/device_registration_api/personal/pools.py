"""The pools of `personal` and `keyring` in a process, and the people in them. They connect at their first use."""

from device_registration_api.maintenance.settings import DatabaseSettings
from device_registration_api.personal.blind_index import BlindIndex
from device_registration_api.personal.connect import pool_apart
from device_registration_api.personal.erasing import PersonEraser
from device_registration_api.personal.keeper import Keeper
from device_registration_api.personal.people import People
from device_registration_api.personal.settings import PeopleSettings
from device_registration_api.schema.schemas import KEYRING, PERSONAL


class PersonalData:
    """The two databases of personal data, the people in them, what erases them, and the index that finds a person."""

    def __init__(self, settings: PeopleSettings, beside: DatabaseSettings, application: str) -> None:
        """`beside` is the first database, beside which the others are by default.

        Raises:
            CommandError: a setting is missing, or a URL is invalid.
        """
        self.personal = pool_apart(PERSONAL, beside, settings, application)
        self.keyring = pool_apart(KEYRING, beside, settings, application)
        self.index = BlindIndex(settings.index_keys())
        self.people = People(self.personal, self.keyring, Keeper(settings.keks()), self.index)
        self.eraser = PersonEraser(self.personal, self.keyring)

    def close(self) -> None:
        """Wait for running work, then close every connection."""
        self.personal.close()
        self.keyring.close()


def new_personal_data(settings: PeopleSettings, beside: DatabaseSettings, application: str) -> PersonalData | None:
    """Return the personal data of an installation, or None where the operator has not configured it.

    Raises:
        CommandError: a URL is invalid.
    """
    if not settings.is_complete() or settings.personal_index_keys is None:
        return None
    return PersonalData(settings, beside, application)
