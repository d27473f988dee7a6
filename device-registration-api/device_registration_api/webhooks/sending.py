"""One attempt to deliver: one POST, to an address that was checked, within a bounded time, and no redirect."""

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from http import HTTPStatus
from ipaddress import IPv4Network, IPv6Network
from typing import NamedTuple
from urllib.parse import urlsplit

from device_registration_api import __version__
from device_registration_api.webhooks.addresses import AddressRefused, Place, places

ATTEMPT_SECONDS_MAX = 10.0
_PORTS = {"http": 80, "https": 443}


class Outcome(NamedTuple):
    """What came of an attempt: the receiver's status, or the reason why there is none."""

    duration_ms: int
    status: int | None
    error: str | None

    @property
    def is_delivered(self) -> bool:
        """Whether the receiver has taken it. A redirect is not followed, and is a failure."""
        return self.status is not None and HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES


def send(
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    allowed: Sequence[IPv4Network | IPv6Network],
    seconds_max: float = ATTEMPT_SECONDS_MAX,
) -> Outcome:
    """POST a body. Of the response, only the head is read."""
    begun = time.monotonic()
    status, error = None, None
    try:
        status = _post(url, headers, body, allowed, begun + seconds_max)
    except AddressRefused:
        error = "address-refused"
    except socket.gaierror:
        error = "name-not-found"
    except ssl.SSLError:
        error = "tls"
    except ConnectionRefusedError:
        error = "connection-refused"
    except (OSError, http.client.HTTPException, ValueError):
        error = "connection-failed"
    duration = time.monotonic() - begun
    if duration >= seconds_max:
        # Whatever the cut connection looked like: a head that is cut off may look like a whole one.
        status, error = None, "timeout"
    return Outcome(round(duration * 1000), status, error)


def _post(
    url: str, headers: Mapping[str, str], body: bytes, allowed: Sequence[IPv4Network | IPv6Network], ends: float
) -> int:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    sent = {
        "Host": parts.netloc,
        "Content-Type": "application/json",
        "User-Agent": f"device-statistics/{__version__}",
        "Connection": "close",
        **headers,
    }
    with _connected(places(host, port, allowed), ends) as plain:
        connection = http.client.HTTPConnection(host, port)
        connection.sock = _encrypted(plain, host) if parts.scheme == "https" else plain
        try:
            connection.request("POST", target, body, sent)
            return connection.getresponse().status
        finally:
            connection.close()


@contextmanager
def _connected(found: Sequence[Place], ends: float) -> Iterator[socket.socket]:
    """A connection to the first address that takes one; it is cut when the time is over, whatever it waits for."""
    for place in found[:-1]:
        with suppress(OSError):
            plain = _connect(place, ends)
            break
    else:
        plain = _connect(found[-1], ends)
    # A duplicate of the descriptor, because TLS takes the first one over.
    twin = plain.dup()
    timer = threading.Timer(max(ends - time.monotonic(), 0), _cut, (twin,))
    timer.daemon = True
    timer.start()
    try:
        yield plain
    finally:
        timer.cancel()
        timer.join()
        twin.close()
        plain.close()


def _connect(place: Place, ends: float) -> socket.socket:
    seconds = ends - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    plain = socket.socket(place.family, socket.SOCK_STREAM)
    try:
        plain.settimeout(seconds)
        plain.connect(place.address)
    except BaseException:
        plain.close()
        raise
    return plain


def _encrypted(plain: socket.socket, host: str) -> socket.socket:
    return _context().wrap_socket(plain, server_hostname=host)


@cache
def _context() -> ssl.SSLContext:
    return ssl.create_default_context()


def _cut(twin: socket.socket) -> None:
    with suppress(OSError):  # the receiver has closed it
        twin.shutdown(socket.SHUT_RDWR)
