"""The ids of what is imported: the same at each run, so that nothing is stored twice."""

from collections.abc import Iterable
from hashlib import sha1
from uuid import UUID, uuid5

_NAMESPACE = UUID("7c0b4a52-5f9e-4d0e-9a3b-1d2f6f6f0b52")
_VARIANT = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))


class Identities:
    """UUIDv5 of what one source calls its rows: the name of the source, a table and an id."""

    def __init__(self, source_name: str) -> None:
        """`source_name` tells two databases of one system from each other."""
        self._source = uuid5(_NAMESPACE, source_name)

    def of(self, table: str, row_id: object) -> UUID:
        """Return the id of one row."""
        return uuid5(self._source, f"{table}/{row_id}")

    def texts(self, table: str, row_ids: Iterable[object]) -> list[str]:
        """Return the ids of many rows as text, in a quarter of the time."""
        begun = sha1(self._source.bytes + f"{table}/".encode(), usedforsecurity=False)
        texts = []
        for row_id in row_ids:
            digest = begun.copy()
            digest.update(str(row_id).encode())
            d = digest.hexdigest()
            texts.append(f"{d[:8]}-{d[8:12]}-5{d[13:16]}-{_VARIANT[d[16]]}{d[17:20]}-{d[20:32]}")
        return texts
