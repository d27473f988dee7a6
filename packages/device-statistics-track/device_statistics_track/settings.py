"""Where events are sent to, with which key: from arguments, else from the environment."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

logger = logging.getLogger("device_statistics_track")

URL_VARIABLE = "DEVICE_STATISTICS_URL"
API_KEY_VARIABLE = "DEVICE_STATISTICS_API_KEY"
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Settings:
    """The receiver of the events. The key is not part of the representation, so that no trace shows it."""

    scheme: str
    host: str
    port: int
    path: str
    api_key: str = field(repr=False)

    @property
    def address(self) -> str:
        """The receiver without the key, for a line of the log."""
        return f"{self.scheme}://{self.host}:{self.port}"


def read_settings(api_key: str | None, url: str | None, environ: Mapping[str, str] = os.environ) -> Settings | None:
    """Return the settings, or None when reporting is off: there is no key, or a setting is wrong, which is logged."""
    key = (environ.get(API_KEY_VARIABLE, "") if api_key is None else api_key).strip()
    address = (environ.get(URL_VARIABLE, "") if url is None else url).strip()
    if not key:
        return None
    if not (key.isascii() and key.isprintable()):
        # http.client would refuse the header later, with the key in its message.
        logger.error("requests are not reported: the API key has characters that a header cannot have")
        return None
    try:
        return _parse(address, key)
    except ValueError as error:
        logger.error("requests are not reported: %s is %s", URL_VARIABLE, error)  # noqa: TRY400 - a setting is wrong; a trace says nothing more
        return None


def _parse(address: str, key: str) -> Settings:
    if not address:
        raise ValueError("not set")
    parts = urlsplit(address)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("not an http or https address")
    if parts.username is not None or parts.query or parts.fragment or not (address.isascii() and address.isprintable()):
        raise ValueError("more than scheme, host, port and path")
    if " " in address:
        raise ValueError("an address with a space")
    parts.hostname.encode("idna")  # raises for names that no resolver takes
    port = _PORTS[parts.scheme] if parts.port is None else parts.port
    return Settings(parts.scheme, parts.hostname, port, parts.path.rstrip("/") + "/api/v1/track/batch", key)
