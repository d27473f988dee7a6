"""Whose request is it? The nearest address that is not our own proxy, whatever the client says."""

from ipaddress import ip_network

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits import parse
from starlette.responses import PlainTextResponse
from starlette.types import Scope

from servicekit.http.error_responses import render
from statistics_api.rate_limit import Network, RateLimit, RateLimitMiddleware, client_network

PROXIES: list[Network] = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


def scope(peer: str | None, *forwarded: str) -> Scope:
    return {
        "client": None if peer is None else (peer, 1234),
        "headers": [(b"x-forwarded-for", each.encode("latin-1", "replace")) for each in forwarded],
    }


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.7", [], "192.0.2.7"),
        ("192.0.2.7", ["203.0.113.9"], "192.0.2.7"),  # whoever is no proxy of ours may write what it likes
        ("10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        ("10.0.0.1", ["1.1.1.1, 203.0.113.9"], "203.0.113.9"),  # the client wrote 1.1.1.1 itself
        ("10.0.0.1", ["1.1.1.1, 10.9.9.9, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        ("10.0.0.1", ["1.1.1.1", "203.0.113.9"], "203.0.113.9"),  # two headers are one list
        ("10.0.0.1", ["  203.0.113.9  ,10.0.0.2"], "203.0.113.9"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),  # a client inside our own network
        ("fd00::1", ["203.0.113.9"], "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", [], "2001:db8:1:2::/64"),
        ("10.0.0.1", ["2001:db8:1:2:ffff::1"], "2001:db8:1:2::/64"),
        ("10.0.0.1", ["2001:0DB8:0001:0002::1"], "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", [], "192.0.2.7"),
        ("::ffff:10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("::ffff:10.0.0.1", ["::ffff:203.0.113.9"], "203.0.113.9"),
        (None, ["203.0.113.9"], ""),
        # With a port, as Azure's gateway writes it, or in another of the ways that proxies have.
        ("10.0.0.1", ["203.0.113.9:40000"], "203.0.113.9"),
        ("10.0.0.1", ["203.0.113.9:40000, 10.0.0.2:443"], "203.0.113.9"),
        ("10.0.0.1", ['"203.0.113.9:40000"'], "203.0.113.9"),
        ("10.0.0.1", ["[2001:db8:1:2::1]:40000"], "2001:db8:1:2::/64"),
        ("10.0.0.1", ["[2001:db8:1:2::1]"], "2001:db8:1:2::/64"),
        ("10.0.0.1", ['"[2001:db8:1:2::1]:40000"'], "2001:db8:1:2::/64"),
        ("10.0.0.1", ["2001:db8:1:2::1%eth0"], "2001:db8:1:2::/64"),
        ("10.0.0.1", ["[fe80::1%25eth0]:40000"], "fe80::/64"),
        ("10.0.0.1", ["[::ffff:203.0.113.9]:40000"], "203.0.113.9"),
        ("10.0.0.1", ["::ffff:203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["203.0.113.9, [fd00::2]:443"], "203.0.113.9"),
        # What is no address: the proxy that wrote it stands for all behind it, and nothing further left is believed.
        ("10.0.0.1", ["203.0.113.9, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9, unknown, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["_hidden"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9,"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9:"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9:x"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9:4:4"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.256"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.09"], "10.0.0.1"),
        ("10.0.0.1", ["[203.0.113.9]"], "203.0.113.9"),
        ("10.0.0.1", ["[2001:db8::1"], "10.0.0.1"),
        ("10.0.0.1", ["2001:db8::1]"], "10.0.0.1"),
        ("10.0.0.1", ["٢٠٣.0.113.9"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9\xa0:1"], "10.0.0.1"),
    ],
)
def test_the_client_is_the_nearest_that_is_no_proxy_of_ours(
    peer: str | None, forwarded: list[str], address: str
) -> None:
    assert client_network(scope(peer, *forwarded), PROXIES) == address


def test_without_trusted_proxies_the_header_means_nothing() -> None:
    assert client_network(scope("10.0.0.1", "203.0.113.9"), []) == "10.0.0.1"


class Clients:
    """Many clients of one limited application."""

    def __init__(self) -> None:
        self._app = RateLimitMiddleware(
            PlainTextResponse("served"), limit=RateLimit(parse("2/hour"), PROXIES), render=render
        )

    async def ask(self, address: str, path: str = "/", forwarded: str | None = None) -> httpx2.Response:
        transport = httpx2.ASGITransport(app=self._app, client=(address, 1234))
        headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get(path, headers=headers)


async def test_who_asks_too_often_is_told_so_and_others_are_served() -> None:
    clients = Clients()
    assert [(await clients.ask("192.0.2.1")).status_code for _ in range(3)] == [200, 200, 429]

    assert (await clients.ask("192.0.2.2")).status_code == 200


async def test_a_429_says_when_to_come_back_and_why() -> None:
    clients = Clients()
    for _ in range(3):
        answer = await clients.ask("192.0.2.1")

    assert 3_590 <= int(answer.headers["retry-after"]) <= 3_600
    assert answer.headers["ratelimit-limit"] == "2"
    assert answer.headers["ratelimit-remaining"] == "0"
    assert answer.headers["ratelimit-reset"] == answer.headers["retry-after"]
    assert answer.json() == {"detail": "more than 2 per 1 hour", "code": "too-many-requests"}


async def test_every_answer_says_where_the_client_stands() -> None:
    clients = Clients()
    answers = [await clients.ask("192.0.2.1") for _ in range(2)]

    assert [each.headers["ratelimit-limit"] for each in answers] == ["2", "2"]
    assert [each.headers["ratelimit-remaining"] for each in answers] == ["1", "0"]
    assert all(3_590 <= int(each.headers["ratelimit-reset"]) <= 3_600 for each in answers)
    assert all("retry-after" not in each.headers for each in answers)
    assert not any(name.startswith("ratelimit") for name in (await clients.ask("192.0.2.1", "/livez")).headers)


async def test_a_new_forged_entry_for_every_request_buys_nothing() -> None:
    clients = Clients()
    answers = [await clients.ask("10.0.0.1", forwarded=f"198.51.100.{n}, 192.0.2.1") for n in range(4)]

    assert [each.status_code for each in answers] == [200, 200, 429, 429]


async def test_a_new_address_of_the_same_64_for_every_request_buys_nothing() -> None:
    clients = Clients()
    answers = [await clients.ask(f"2001:db8::{n:x}") for n in range(4)]

    assert [each.status_code for each in answers] == [200, 200, 429, 429]
    assert (await clients.ask("2001:db8:0:1::1")).status_code == 200


@pytest.mark.parametrize("form", ["203.0.113.9:{}", "[2001:db8::{:x}]:{}", "[2001:db8::{:x}]", "garbage-{}"])
async def test_a_new_port_or_text_for_every_request_buys_nothing(form: str) -> None:
    clients = Clients()
    answers = [await clients.ask("10.0.0.1", forwarded=form.format(n, 40_000 + n)) for n in range(4)]

    assert [each.status_code for each in answers] == [200, 200, 429, 429]


@given(st.text(st.characters(max_codepoint=255), max_size=20))
def test_whatever_stands_in_the_header_there_is_an_address(entry: str) -> None:
    network = ip_network(client_network(scope("10.0.0.1", entry), PROXIES))
    assert network.prefixlen in (32, 64)


@pytest.mark.parametrize("path", ["/health", "/livez", "/readyz", "/livez/", "/live%7A"])
async def test_probes_are_never_limited(path: str) -> None:
    clients = Clients()

    assert {(await clients.ask("192.0.2.1", path)).status_code for _ in range(5)} == {200}


@pytest.mark.parametrize("path", ["/health/../x", "/healthy", "/x/livez", "//livez", "/livez//", "/x%2Flivez"])
async def test_what_only_looks_like_a_probe_is_limited(path: str) -> None:
    clients = Clients()

    assert 429 in {(await clients.ask("192.0.2.1", path)).status_code for _ in range(3)}
