"""The path that routes are matched on. It is made from the raw path, because a decoded one has lost the difference
between the slash that separates two segments and a slash within one (`a%2Fanalyze` is a device, not an analysis).
"""

import re
from urllib.parse import unquote_to_bytes

from starlette.convertors import StringConvertor, register_url_convertor
from starlette.types import Scope

# What health checks ask (servicekit.service.health serves them): never refused for load, never counted by a rate limit.
HEALTH_PATHS = frozenset({"/health", "/livez", "/readyz"})

# A path that needs no decoding and no refusal, as nearly every path is.
_PLAIN = re.compile(rb"/|(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
# No name of ours has a control character, and PostgreSQL accepts no NUL in a text.
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def is_plain(raw_path: bytes) -> bool:
    """Whether a path is the one that its route is matched on, has nothing to decode, and may be logged as it is."""
    return _PLAIN.fullmatch(raw_path) is not None


def route_path(scope: Scope) -> str | None:
    """Return the path without percent-encoding and without one trailing slash; None if no route can have it.

    A slash or a percent sign within a segment stays `%2F` or `%25`: routes are matched on segments, and a route's
    parameters are decoded after that. No route has an empty segment, `.` or `..`, a control character,
    an incomplete escape or bytes that are not UTF-8.
    """
    raw: bytes = scope["raw_path"]
    if is_plain(raw):
        return raw.decode("ascii")
    first, *segments = raw.decode("latin-1").split("/")
    if first:
        return None
    if len(segments) > 1 and not segments[-1]:
        segments.pop()
    decoded = [_decoded(segment) for segment in segments]
    known = [segment for segment in decoded if segment is not None]
    if len(known) != len(decoded):
        return None
    return "/" + "/".join(segment.replace("%", "%25").replace("/", "%2F") for segment in known)


def _decoded(segment: str) -> str | None:
    if _BROKEN_ESCAPE.search(segment):
        return None
    try:
        text = unquote_to_bytes(segment.encode("latin-1")).decode()
    except UnicodeDecodeError:
        return None
    return None if text in ("", ".", "..") or _CONTROL_CHARACTER.search(text) else text


class SegmentConvertor(StringConvertor):
    """A parameter of a path that `route_path` made: one segment, decoded."""

    def convert(self, value: str) -> str:
        """Return the segment without percent-encoding."""
        return value.replace("%2F", "/").replace("%25", "%")


register_url_convertor("str", SegmentConvertor())  # what `{device_id}` is short for
