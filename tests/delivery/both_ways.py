"""A direct route and the framework's answer the same request in the same way; a trailing slash takes the long way."""

from collections.abc import Mapping
from uuid import uuid4

import httpx2

_DIFFERS = {"date", "x-request-id", "idempotent-replayed"}


def assert_both_ways_record_the_same(client: httpx2.Client, path: str, body: object, other: object) -> None:
    """Record once directly and repeat it the long way, then the other way round; `other` is refused under each key."""
    for first_end, again_end in (("", "/"), ("/", "")):
        key = {"Idempotency-Key": str(uuid4())}
        first = client.post(path + first_end, json=body, headers=key)
        again = client.post(path + again_end, json=body, headers=key)
        assert (first.status_code, again.status_code) == (201, 201), first.text
        assert first.content == again.content
        assert (first.headers.get("idempotent-replayed"), again.headers["idempotent-replayed"]) == (None, "true")
        assert _alike(first.headers) == _alike(again.headers)
        for end in ("", "/"):
            refused = client.post(path + end, json=other, headers=key)
            assert (refused.status_code, refused.json()["code"]) == (409, "idempotency-key-reused")


def _alike(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name not in _DIFFERS}
