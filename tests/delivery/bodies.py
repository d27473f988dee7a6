"""Bodies that a client may send and a service must survive: generated from a seed, each as a small description."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

MIB = 1024 * 1024
BODY_BYTES_MAX = 4 * MIB
LINES, ARRAY = "application/x-ndjson", "application/json"

_NOW = datetime.now(UTC)


def _event(index: int, **more: object) -> bytes:
    return json.dumps({"userKey": f"user-{index}", "deviceType": "iOS", **more}).encode()


def _among(value: bytes) -> bytes:
    """An event with a field that nobody reads."""
    return b'{"userKey":"u","deviceType":"TV","x":' + value + b"}"


# What the items of a body are: a function of the item's index and of a length.
UNITS: dict[str, Callable[[int, int], bytes]] = {
    "x": lambda _i, _n: b"x",
    "zero": lambda _i, _n: b"0",
    "empty string": lambda _i, _n: b'""',
    "empty object": lambda _i, _n: b"{}",
    "empty list": lambda _i, _n: b"[]",
    "nothing": lambda _i, _n: b"",
    "blank": lambda _i, n: b" " * n,
    "event": lambda i, _n: _event(i),
    "event with an id": lambda i, _n: _event(i, eventId=f"id-{i}"),
    "event with all": lambda i, _n: _event(i, eventId=f"id-{i}", occurredAt=(_NOW - timedelta(seconds=i)).isoformat()),
    "event with a long id": lambda i, n: _event(i, eventId=f"{i}" + "e" * (n % 240)),
    "event too old": lambda i, _n: _event(i, occurredAt="2020-01-01T00:00:00Z"),
    "all fields wrong": lambda _i, _n: b'{"userKey":1,"deviceType":1,"occurredAt":1,"eventId":1}',
    "shortest with many errors": lambda _i, _n: b'{"occurredAt":0,"eventId":0}',
    "unknown type": lambda _i, n: b'{"userKey":"u","deviceType":"' + b"\\\\" * n + b'"}',
    "long user key": lambda _i, n: b'{"userKey":"' + b"k" * n + b'","deviceType":"TV"}',
    "wide user key": lambda _i, n: b'{"userKey":"' + "😀".encode() * (n % 255) + b'","deviceType":"TV"}',
    "one wide character": lambda _i, n: b'{"userKey":"' + "😀".encode() + b"k" * (n % 254) + b'","deviceType":"TV"}',
    "escaped user key": lambda _i, n: b'{"userKey":"' + b"\\u0061" * (n % 255) + b'","deviceType":"TV"}',
    "escaped quotes": lambda _i, n: _among(b'"' + b'\\"' * n + b'"'),
    "escapes": lambda _i, n: _among(b'"' + b"\\u0061" * n + b'"'),
    "surrogate": lambda _i, n: _among(b'"' + b"a" * n + b'\\ud800"'),
    "NUL": lambda _i, n: _among(b'"' + b"a" * n + b'\\u0000"'),
    "long string": lambda _i, n: _among(b'"' + b"a" * n + b'"'),
    "deep": lambda _i, n: _among(b"[" * n + b"]" * n),
    "deep objects": lambda _i, n: _among(b'{"a":' * n + b"1" + b"}" * n),
    "never closed": lambda _i, n: b"[" * n,
    "closed too often": lambda _i, n: b"]" * n,
    "unclosed string": lambda _i, n: b'{"userKey":"' + b"a" * n,
    "lists": lambda _i, n: _among(b"[" + b"[]," * n + b"1]"),
    "objects": lambda _i, n: _among(b"[" + b"{}," * n + b"1]"),
    "objects of one": lambda _i, n: _among(b"[" + b'{"a":1},' * n + b"1]"),
    "numbers": lambda _i, n: _among(b"[" + b"1," * n + b"1]"),
    "large numbers": lambda _i, n: _among(b"[" + b"12345678901," * n + b"1]"),
    "floats": lambda _i, n: _among(b"[" + b"1.5," * n + b"1]"),
    "strings": lambda _i, n: _among(b"[" + b'"ab",' * n + b"1]"),
    "wide strings": lambda _i, n: _among(b"[" + '"😀b",'.encode() * n + b"1]"),
    "many keys": lambda _i, n: _among(b"{" + b",".join(b'"%x":1' % k for k in range(n)) + b"}"),
    "one key many times": lambda _i, n: _among(b"{" + b",".join([b'"a":1'] * n) + b"}"),
    "digits": lambda _i, n: _among(b"7" * max(1, n)),
    "decimals": lambda _i, n: _among(b"1." + b"7" * max(1, n)),
    "exponent": lambda _i, n: _among(b"1e" + b"9" * max(1, n)),
    "quotes": lambda _i, n: b'""' * n,
    "brackets": lambda _i, n: b"[]" * n,
    "commas": lambda _i, n: b"," * n,
    "backslashes": lambda _i, n: b'"' + b"\\" * n,
    "control characters": lambda _i, n: b"\x01" * n,
    "not UTF-8": lambda _i, n: b'"' + b"\xff" * n + b'"',
    "several values": lambda i, _n: _event(i) + _event(i),
    "white space inside": lambda i, n: _event(i).replace(b" ", b" " * n),
}
ENDINGS = {"right": b"", "cut": b"", "twice": b"]", "comma": b",]", "blank": b" " * 1000, "garbage": b"x"}
# What stands around the items, at most.
_ENDING_BYTES_MAX = 1100


@dataclass(frozen=True)
class Body:
    """How a body is made: the unit of its items, how long each is, and how many bytes they fill."""

    content_type: str
    unit: str
    length: int
    size: int
    items_max: int = 10_000_000
    ending: str = "right"
    # Every so many items stands one that is good; 0 for none.
    good_every: int = 0
    keyed: bool = False

    def make(self) -> bytes:
        """The bytes; at most `size` of them, at least one item."""
        separator = b"\n" if self.content_type == LINES else b","
        body = separator.join(self._items(min(self.size, BODY_BYTES_MAX) - _ENDING_BYTES_MAX))
        if self.content_type == ARRAY:
            body = b"[" + body + (b"" if self.ending == "cut" else b"]") + ENDINGS[self.ending]
        return body[:BODY_BYTES_MAX]

    def _items(self, room: int) -> list[bytes]:
        unit = UNITS[self.unit]
        items = [unit(0, self.length)]
        if not self.good_every and unit(1, self.length) == items[0]:
            return items * max(1, min(self.items_max, room // (len(items[0]) + 1)))
        room -= len(items[0]) + 1
        while room > 0 and len(items) < self.items_max:
            is_good = self.good_every and len(items) % self.good_every == self.good_every - 1
            items.append(_event(len(items)) if is_good else unit(len(items), self.length))
            room -= len(items[-1]) + 1
        return items[:-1] if room < 0 and len(items) > 1 else items

    def headers(self) -> dict[str, str]:
        """Its content type, and a key if it has one."""
        key = {"Idempotency-Key": f"key-{random.random()}"} if self.keyed else {}  # noqa: S311 - no secret
        return {"Content-Type": self.content_type} | key


def any_body(rng: random.Random) -> Body:
    """One of all of them."""
    return Body(
        content_type=rng.choice([LINES, ARRAY]),
        unit=rng.choice(list(UNITS)),
        length=rng.choice([1, 2, 19, 21, 100, 180, 250, 1_000, 20_000, 60_000, 70_000, 4 * MIB]),
        size=rng.choice([20_000, 300_000, MIB, 4 * MIB, 4 * MIB]),
        items_max=rng.choice([1, 2, 100, 9_999, 10_000, 10_001, 10_000_000, 10_000_000]),
        ending=rng.choice(["right"] * 5 + list(ENDINGS)),
        good_every=rng.choice([0, 0, 2, 100, 9_000]),
        keyed=rng.random() < 0.3,
    )


def changed(body: Body, rng: random.Random) -> Body:
    """`body` with one or two of its parts as in another."""
    other = any_body(rng)
    parts = rng.sample(["content_type", "unit", "length", "size", "items_max", "ending", "good_every", "keyed"], 2)
    return replace(body, **{part: getattr(other, part) for part in parts})
