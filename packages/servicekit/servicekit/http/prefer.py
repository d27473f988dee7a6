"""What a client prefers (RFC 7240). A preference that is not understood is ignored, as the RFC demands."""

import re
from collections.abc import Iterable, Iterator

# A longer header is ignored: it holds no preference that is understood here.
CHARACTERS_MAX = 2_000
_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105 - of RFC 9110
_QUOTED = r'"(?:[^"\\]|\\.)*+"'
# The pieces of a header: a quoted text, in which a comma separates nothing, and what stands between.
_PIECE = re.compile(rf'{_QUOTED}|[^",]++|[",]')
# The beginning of a preference: its name and its value; parameters may follow.
_NAMED = re.compile(rf"[ \t]*+({_TOKEN})[ \t]*+(?:=[ \t]*+({_TOKEN}|{_QUOTED})?[ \t]*+)?(?:;|$)")
_NO_VALUES = (None, '""')


def prefers(lines: Iterable[str], name: str) -> bool:
    """Whether a preference without a value is among those of all lines of the header `Prefer`.

    Names are compared without case. An empty value is none. Of several preferences with this name, the first counts.
    """
    value = ",".join(lines)
    if len(value) > CHARACTERS_MAX:
        return False
    for preference in _preferences(value):
        found = _NAMED.match(preference)
        if found is not None and found[1].lower() == name:
            return found[2] in _NO_VALUES
    return False


def _preferences(value: str) -> Iterator[str]:
    pieces: list[str] = []
    for piece in _PIECE.findall(value):
        if piece == ",":
            yield "".join(pieces)
            pieces = []
        else:
            pieces.append(piece)
    yield "".join(pieces)
