"""An event's identity is the same, in whatever way a client gives it."""

import json
from collections.abc import Callable
from uuid import uuid4

import httpx2
import pytest

from tests.auth_events.payloads import NDJSON, event
from tests.database import facts_of
from tests.servers import Product, StartProduct


@pytest.fixture(scope="module")
def product(start_product: StartProduct) -> Product:
    """Two processes of each service: a repeat may meet any of them."""
    return start_product(publics=2, privates=2)


def keyed(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key}


# Each way to send one event under an identity: path, body, headers.
WAYS: dict[str, Callable[[str], tuple[str, bytes, dict[str, str]]]] = {
    "header": lambda key: ("", b'{"userKey":"ways","deviceType":"TV"}', keyed(key)),
    "header, long way": lambda key: ("", b'{"x":1.0,"deviceType":"TV","userKey":" ways"}', keyed(key)),
    "field": lambda key: ("", json.dumps(event("ways", "TV", eventId=key)).encode(), {}),
    "header and field": lambda key: ("", json.dumps(event("ways", "TV", eventId=f" {key}")).encode(), keyed(key)),
    "item of an array": lambda key: ("/batch", json.dumps([event("ways", "TV", eventId=key)]).encode(), {}),
    "line": lambda key: ("/batch", json.dumps(event("ways", "TV", eventId=key, x="\0")).encode(), NDJSON),
}


@pytest.mark.parametrize("again", WAYS)
@pytest.mark.parametrize("first", WAYS)
def test_an_identity_is_the_same_in_every_way_it_is_given(
    public: httpx2.Client, product: Product, first: str, again: str
) -> None:
    key = str(uuid4())
    before = facts_of(product.database, "ways")
    for way, is_first in ((first, True), (again, False)):
        path, body, headers = WAYS[way](key)
        answer = public.post(f"/Log/auth{path}", content=body, headers=headers)
        assert answer.status_code == 200, answer.text
        if path:
            assert (answer.json()["registered"], answer.json()["duplicate"]) == ((1, 0) if is_first else (0, 1))
        else:
            assert answer.headers.get("idempotent-replayed") == (None if is_first else "true")
    assert facts_of(product.database, "ways") == before + 1


def test_a_header_and_another_event_id_are_refused_and_nothing_is_stored(
    public: httpx2.Client, product: Product
) -> None:
    answer = public.post("/Log/auth", json=event("two-ids", eventId="one"), headers=keyed("another"))
    assert answer.status_code == 422
    [problem] = answer.json()["detail"]
    assert problem["loc"] == ["body", "eventId"]
    assert "Idempotency-Key" in problem["msg"]
    assert facts_of(product.database, "two-ids") == 0
