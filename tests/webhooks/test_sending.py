"""One attempt reaches only addresses that it may, and ends in time whatever the receiver does."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from device_registration_api.webhooks.addresses import AddressRefused, is_allowed, places
from device_registration_api.webhooks.sending import send
from local.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.webhooks.receiver import Receiver

HERE = [IPv4Network("127.0.0.0/8")]
REFUSED = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",  # noqa: S104 - refused
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2001:0:7f00:1::",
    "2001:db8::1",
]


@pytest.mark.parametrize("address", REFUSED)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert not is_allowed(address, [])


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:4700::1111", "::ffff:93.184.216.34"])
def test_a_public_address_is_allowed(address: str) -> None:
    assert is_allowed(address, [])


@given(st.ip_addresses(v=4))
def test_a_mapped_address_is_judged_as_the_address(address: IPv4Address) -> None:
    mapped = IPv6Address(int(address) | 0xFFFF << 32)
    assert is_allowed(str(mapped), HERE) == is_allowed(str(address), HERE)


def test_a_network_is_allowed_by_name(receiver: Receiver) -> None:
    assert is_allowed("127.0.0.1", HERE)
    assert not is_allowed("10.0.0.1", HERE)
    with pytest.raises(AddressRefused):
        places("localhost", receiver.port, [])
    assert [each.address[0] for each in places("localhost", receiver.port, HERE)] == ["127.0.0.1"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0x7f.1", "2130706433"])
def test_this_machine_is_not_reached_under_any_name(receiver: Receiver, host: str) -> None:
    with receiver.up():
        sent = send(f"http://{host}:{receiver.port}/", {}, b"{}", [])
    assert (sent.status, sent.error) == (None, "address-refused")
    assert receiver.received == []


def test_the_address_that_was_checked_is_the_one_that_is_connected_to(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that has another address when it is looked up again changes nothing: it is looked up once."""
    looked_up: list[str] = []
    real = socket.getaddrinfo

    def look_up(host: str, port: int, **more: int) -> object:
        looked_up.append(host)
        return real("127.0.0.1", port, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with receiver.up():
        sent = send(f"http://hooks.example.com:{receiver.port}/x?y=1", {}, b"{}", HERE)
    assert sent.status == 200
    assert looked_up == ["hooks.example.com"]
    [received] = receiver.received
    assert received.path == "/x?y=1"
    assert received.headers["host"] == f"hooks.example.com:{receiver.port}"


def test_a_name_that_nobody_has() -> None:
    assert send("http://nobody.invalid/", {}, b"{}", HERE).error == "name-not-found"


@contextmanager
def raw_server(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that says what it wants to one client; its address."""
    with socket.create_server(("127.0.0.1", free_port())) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                talk(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        thread.join()


def until_closed(connection: socket.socket, repeated: bytes = b"") -> None:
    """Send the same until the client has gone."""
    connection.settimeout(0.02)
    while True:
        try:
            connection.sendall(repeated)
            if connection.recv(65_536) == b"":
                return
        except TimeoutError:
            continue
        except OSError:
            return


def test_a_receiver_that_says_nothing() -> None:
    with raw_server(until_closed) as url:
        assert send(url, {}, b"{}", HERE, seconds_max=0.3).error == "timeout"


def test_a_receiver_that_never_ends_its_headers() -> None:
    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        until_closed(connection, b"a: b\r\n")

    with raw_server(drip) as url:
        assert send(url, {}, b"{}", HERE, seconds_max=0.3)[1:] == (None, "timeout")


def test_a_response_without_end_is_not_read() -> None:
    def flood(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        until_closed(connection, b"x" * 65_536)

    with raw_server(flood) as url:
        assert send(url, {}, b"{}", HERE).is_delivered


def test_a_receiver_that_speaks_no_http() -> None:
    with raw_server(lambda connection: connection.sendall(b"220 mail.example.com ESMTP\r\n")) as url:
        assert send(url, {}, b"{}", HERE).error == "connection-failed"


def test_a_certificate_that_nobody_has_signed(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "both.pem"
    file.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)

    def talk(connection: socket.socket) -> None:
        try:
            context.wrap_socket(connection, server_side=True).close()
        except OSError:
            return

    with raw_server(talk) as url:
        assert send(url.replace("http://", "https://"), {}, b"{}", HERE).error == "tls"
