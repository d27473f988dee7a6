"""The text of a `json` parameter of a statement."""

from pydantic_core import to_json

from servicekit.database.copy_encoding import Unencodable


def as_json(value: object) -> str:
    """Return a value as JSON.

    Raises:
        Unencodable: JSON cannot hold it.
    """
    try:
        return to_json(value).decode()
    except ValueError as error:
        raise Unencodable("not a value that JSON can hold") from error
