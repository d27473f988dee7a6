"""Checks that a query string has only parameters that the route declares, each once.

If a misspelt filter were ignored, the client would get all rows, and the response would look like a success.
"""

from collections.abc import Collection, Mapping
from urllib.parse import parse_qsl

from servicekit.errors import FieldError, Invalid

# No route has more. A longer query string is refused without being split.
_PARAMETERS_MAX = 100
_ERRORS_MAX = 10
_ECHO_CHARACTERS_MAX = 50


def check_query(query_string: bytes, declared: Collection[str]) -> None:
    """Compare the names in `query_string` with those that the route declares.

    Raises:
        Invalid: a parameter is unknown, or is given twice. The error names each of them.
    """
    try:
        pairs = parse_qsl(query_string.decode("latin-1"), keep_blank_values=True, max_num_fields=_PARAMETERS_MAX)
    except ValueError:
        raise Invalid.single(f"more than {_PARAMETERS_MAX} parameters", "query") from None
    seen: set[str] = set()
    errors: dict[str, FieldError] = {}
    for name, _ in pairs:
        if name not in declared:
            shown = name if len(name) <= _ECHO_CHARACTERS_MAX else name[:_ECHO_CHARACTERS_MAX] + "…"
            errors[name] = FieldError(("query", shown), f"unknown parameter; {_those(declared)}", "unknown_parameter")
        elif name in seen:
            errors[name] = FieldError(("query", name), "must be given once", "repeated_parameter")
        seen.add(name)
    if errors:
        raise Invalid(list(errors.values())[:_ERRORS_MAX])


def read_number(parameters: Mapping[str, str], name: str, default: int, smallest: int, largest: int) -> int:
    """Return a whole number, or the default without the parameter.

    Raises:
        Invalid: it is no number from the smallest to the largest.
    """
    text = parameters.get(name)
    if text is None:
        return default
    # Not `int` alone, which reads signs, spaces and digits of other scripts, and long texts slowly.
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= len(str(largest)) else smallest - 1
    if not smallest <= number <= largest:
        raise Invalid.single(f"must be a number from {smallest} to {largest}", "query", name)
    return number


def _those(declared: Collection[str]) -> str:
    if not declared:
        return "this route takes none"
    return f"this route takes {', '.join(sorted(declared))}"
