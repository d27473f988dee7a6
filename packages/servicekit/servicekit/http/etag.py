"""Makes the entity tag of a response, and checks whether a client has that response (RFC 9110, section 13.1.2)."""

import re
from collections.abc import Iterator
from hashlib import blake2b

from starlette.types import Scope

from servicekit.http.headers import headers

# One member of the list, to the comma or the end. A tag holds no quote and no space, but may hold a comma. The end is
# `\Z`, because `$` also matches before a last line end, where the reading would not go on.
_MEMBER = re.compile(r'[ \t]*+(?:(?:W/)?"(?P<tag>[\x21\x23-\x7e\x80-\xff]*+)"|(?P<any>\*))?[ \t]*+(?:,|\Z)')
# A proxy that compresses a response makes another tag of ours, and hands it back as it is: Apache `"tag-gzip"`, Jetty
# `"tag--gzip"`. What it compressed is the same response.
_COMPRESSED = re.compile(r"--?(?:gzip|deflate|br|zstd)\Z")


def strong_etag(body: bytes) -> str:
    """Return a tag that differs for different bodies."""
    return f'"{blake2b(body, digest_size=16).hexdigest()}"'


def is_current(scope: Scope, etag: str) -> bool:
    """Whether `If-None-Match`, in one line or several, says that the client has the response with this tag."""
    lines = headers(scope, b"if-none-match")
    return bool(lines) and matches(",".join(lines), etag)


def matches(if_none_match: str, etag: str) -> bool:
    """Whether the value of `If-None-Match` names this tag.

    Tags are compared weakly, as they are for GET: a proxy may have put `W/` before them. `*` stands for any response.
    The value is read only up to its first malformed entry.
    """
    return if_none_match == etag or any(tag in ("*", etag) for tag in _tags(if_none_match))


def _tags(value: str) -> Iterator[str]:
    position = 0
    while position < len(value) and (member := _MEMBER.match(value, position)) is not None:
        position = member.end()
        if member["any"]:
            yield "*"
        elif member["tag"] is not None:
            yield f'"{_COMPRESSED.sub("", member["tag"])}"'
