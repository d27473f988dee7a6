"""What one installation keeps in its data folder: a lock, secrets, and the embedded server's files."""

import base64
import fcntl
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from local.database import Login, personal_environment
from local.files import private_folder, secret
from local.settings import INBOX_URL, databases_elsewhere


class InstallationError(Exception):
    """The data folder cannot be used; the message is one sentence for its operator."""


class Installation:
    """The data folder of one installation."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    def lock(self) -> None:
        """Make the folder (0700) if needed, and keep every other run out of it until this process ends.

        Raises InstallationError.
        """
        try:
            private_folder(self.folder)
            lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise InstallationError(f"DATA_DIR cannot be used: {error}.") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the file stays open, and so locked
        except BlockingIOError:
            raise InstallationError(f"Another run uses DATA_DIR {self.folder}: stop it, or set DATA_DIR.") from None

    @property
    def postgres_folder(self) -> Path:
        """Where the embedded server's files belong."""
        return self.folder / "postgres"

    @property
    def service_token(self) -> str:
        """What the public service shows to the private one."""
        return self._secret("service-token")

    @property
    def writer(self) -> Login:
        """The private service's database login."""
        return self._login("writer")

    @property
    def reader(self) -> Login:
        """The public service's database login."""
        return self._login("reader")

    @property
    def personal(self) -> Login:
        """The private service's login for the databases of personal data."""
        return self._login("personal")

    @property
    def personal_data(self) -> dict[str, str]:
        """What the private service and its commands read for personal data: the login and the key-encryption keys."""
        keks = secret(self.folder / "personal-keks", _numbered_key)
        return personal_environment(self.personal) | {"PERSONAL_KEKS": keks}

    def databases_elsewhere(self) -> dict[str, str]:
        """What the private service and its commands read of databases on other servers, and the login of the inbox."""
        urls = databases_elsewhere()
        if INBOX_URL not in urls:
            return urls
        login = self._login("inbox")
        return urls | {"INBOX_DB_USER": login.user, "INBOX_DB_PASSWORD": login.password}

    @property
    def account_keys(self) -> dict[str, str]:
        """What the private service itself reads: the keys of the blind indexes, and of the tokens that it signs."""
        return {
            "PERSONAL_INDEX_KEYS": secret(self.folder / "personal-index-keys", _numbered_key),
            "TOKEN_SIGNING_KEYS": secret(self.folder / "token-signing-keys", _signing_key),
        }

    def api_key(self, make: Callable[[], str], *, database_was_there: bool) -> str:
        """An API key of a first project, made by `make` once for each database that is made."""
        path = self.folder / "api-key"
        if not database_was_there:
            path.unlink(missing_ok=True)  # of a database that is gone
        return secret(path, make)

    def _login(self, role: str) -> Login:
        # Names of their own: roles belong to a whole server, which other installations may use too.
        installation = secret(self.folder / "installation-id", lambda: secrets.token_hex(4))
        return Login(f"device_statistics_{role}_{installation}", self._secret(f"{role}-password"))

    def _secret(self, name: str) -> str:
        return secret(self.folder / name, lambda: secrets.token_hex(32))


def _numbered_key() -> str:
    return f"1:{base64.b64encode(secrets.token_bytes(32)).decode()}"


def _signing_key() -> str:
    # The id is random: whoever remembers the public keys of a deleted installation must not take this one for its own.
    return f"1-{secrets.token_hex(4)}:{secrets.token_urlsafe(32)}"
