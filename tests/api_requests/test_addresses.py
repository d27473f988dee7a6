"""Addresses of clients: one spelling, never repeated in a sentence, and no part of what a repeat is compared by."""

import json
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from contract.api_requests.addresses import canonical_address
from contract.api_requests.events import ApiRequest
from statistics_api.api_requests.kind import API_REQUESTS
from statistics_api.delivery.batches import AcceptedBatch, encode_batch, read_batch

GOOD = {"url_path": "/", "method": "GET", "response_status_code": 200, "response_time_ms": 1}
HERE = "198.51.100.23"


@given(st.integers(0, 2**128 - 1))
def test_every_spelling_of_an_ipv6_address_is_one(number: int) -> None:
    address = IPv6Address(number)
    spellings = [address.exploded, address.compressed, address.exploded.upper(), f" {address.compressed}\t"]
    [one] = {canonical_address(each) for each in spellings}
    assert canonical_address(one) == one


@given(st.integers(0, 2**32 - 1))
def test_an_ipv4_address_within_an_ipv6_one_is_itself(number: int) -> None:
    address = IPv4Address(number)
    mapped = IPv6Address((0xFFFF << 32) + number)
    assert {canonical_address(each) for each in (str(address), f"::ffff:{address}", mapped.exploded)} == {str(address)}


NO_ADDRESSES = {
    "empty": "",
    "word": "unknown",
    "short": "1.2.3",
    "port": "1.2.3.4:80",
    "brackets": "[::1]",
    "brackets-port": "[::1]:80",
    "leading-zero": "01.2.3.4",
    "too-large": "1.2.3.256",
    "zone": "fe80::1%eth0",
    "empty-zone": "::1%",
    "net": "1.2.3.4/32",
    "leading-zero-within": "::ffff:01.2.3.4",
    "other-digits": "\u0661.2.3.4",
    "long": "1" * 65,
}


@pytest.mark.parametrize("wrong", NO_ADDRESSES.values(), ids=NO_ADDRESSES)
def test_what_is_no_address_is_refused_and_not_repeated(wrong: str) -> None:
    with pytest.raises(ValidationError) as refused:
        ApiRequest.model_validate(GOOD | {"ip": wrong}, by_alias=True, by_name=False)
    [error] = refused.value.errors(include_input=False)
    assert error["loc"] == ("ip",)
    assert not wrong or wrong not in error["msg"]


def test_a_repeat_is_compared_without_the_address() -> None:
    one, other = (ApiRequest.model_validate(GOOD | {"ip": ip}) for ip in (HERE, None))
    assert one.idempotency_fields() == other.idempotency_fields()
    assert HERE not in str(one.idempotency_fields())


async def read(*ips: str | None) -> AcceptedBatch:
    items = [GOOD if ip is None else GOOD | {"ip": ip} for ip in ips]
    return await read_batch(
        API_REQUESTS,
        json.dumps(items).encode(),
        "key",
        content_type="application/json",
        project_id=1,
        received_at=datetime.now(UTC),
    )


async def test_a_batch_carries_canonical_addresses_and_is_compared_without_them() -> None:
    batch, plain = await read(None, f"::ffff:{HERE}", "nonsense"), await read(None, None, "nonsense")
    assert json.loads(encode_batch(API_REQUESTS, batch))["columns"]["ips"] == {"1": HERE}
    assert batch.key == plain.key
    assert "nonsense" not in str(batch.rejected)
