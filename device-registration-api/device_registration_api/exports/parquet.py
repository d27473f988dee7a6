"""Writes rows of an export as Parquet, if pyarrow is installed: it is larger than all the rest of an installation."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic_core import from_json, to_json

from device_registration_api.schema.connect import CommandError

# The types of PostgreSQL that are no text in Parquet, by their object ids, and the constructors of pyarrow's.
_INTEGERS = (21, 23, 20)
_DOUBLE = 701
_TIME = 1184


def pyarrow() -> Any:  # noqa: ANN401 - it may not be installed
    """Return the module. Raises CommandError."""
    try:
        import_module("pyarrow.parquet")
        return import_module("pyarrow")
    except ImportError as error:
        message = "Parquet needs pyarrow: pip install 'device-registration-api[parquet]'"
        raise CommandError(message) from error


class ParquetFile:
    """A file with a column for each field; times are times, and JSON is text."""

    def __init__(self, path: Path, columns: Mapping[str, int]) -> None:
        """`columns` are the types of PostgreSQL by the names of fields."""
        self._arrow = pyarrow()
        self._times = [name for name, oid in columns.items() if oid == _TIME]
        self._schema = self._arrow.schema([(name, self._type(oid)) for name, oid in columns.items()])
        self._writer = self._arrow.parquet.ParquetWriter(path, self._schema)

    def write(self, rows: Sequence[str]) -> None:
        """Add a group of rows."""
        parsed = [self._row(row) for row in rows]
        self._writer.write_table(self._arrow.Table.from_pylist(parsed, schema=self._schema))

    def end(self, cursor: str, rows: int) -> None:
        """Nothing: the format has an end of its own."""

    def close(self) -> None:
        """End the file."""
        self._writer.close()

    def _type(self, oid: int) -> Any:  # noqa: ANN401 - a type of pyarrow
        if oid in _INTEGERS:
            return self._arrow.int64()
        if oid == _DOUBLE:
            return self._arrow.float64()
        return self._arrow.timestamp("us", tz="UTC") if oid == _TIME else self._arrow.string()

    def _row(self, text: str) -> dict[str, object]:
        row: dict[str, Any] = from_json(text)
        for name, value in row.items():
            if isinstance(value, dict | list):
                row[name] = to_json(value).decode()
        for name in self._times:
            row[name] = datetime.fromisoformat(row[name])
        return row
