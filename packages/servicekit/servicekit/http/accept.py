"""Which of several media types a client prefers, and which content codings it takes (RFC 9110, section 12.5)."""

from collections.abc import Iterator, Sequence

from starlette.types import Scope

from servicekit.http.headers import headers


def preferred(scope: Scope, offered: Sequence[str]) -> str:
    """Return the media type of `offered` that `Accept` rates highest; of several, the first.

    A client that accepts none of them gets the first one, too: a 406 would be of no use to it.
    """
    ranges = list(_ranges(",".join(headers(scope, b"accept"))))
    return max(offered, key=lambda media_type: _quality(media_type, ranges)) if ranges else offered[0]


def accepts_coding(scope: Scope, coding: str) -> bool:
    """Whether `Accept-Encoding` names a content coding, or any."""
    weights = dict(_ranges(",".join(headers(scope, b"accept-encoding"))))
    return weights.get(coding, weights.get("*", 0.0)) > 0


def _ranges(value: str) -> Iterator[tuple[str, float]]:
    """Yield each range with its weight; other parameters are ignored."""
    for member in value.split(","):
        name, *parameters = (part.strip().lower() for part in member.split(";"))
        weights = [each.partition("=")[2] for each in parameters if each.startswith("q=")]
        try:
            weight = float(weights[0]) if weights else 1.0
        except ValueError:
            continue
        if name and 0 <= weight <= 1:
            yield name, weight


def _quality(media_type: str, ranges: list[tuple[str, float]]) -> float:
    """Return the weight of the most specific range that covers the type."""
    for name in (media_type, media_type.partition("/")[0] + "/*", "*/*"):
        weights = [weight for each, weight in ranges if each == name]
        if weights:
            return max(weights)
    return 0.0
