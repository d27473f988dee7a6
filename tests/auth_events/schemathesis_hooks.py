"""What Schemathesis cannot know of the services; it loads this by SCHEMATHESIS_HOOKS."""

from typing import Any

import schemathesis

DEADLINE = "X-Request-Deadline"
FAR_AWAY = 99_999_999_999.0


@schemathesis.serializer("application/x-ndjson")
def as_text(_: schemathesis.SerializationContext, value: object) -> bytes:
    """Lines are text."""
    return str(value).encode()


@schemathesis.hook
def before_call(_: schemathesis.HookContext, case: "schemathesis.Case[Any]", kwargs: dict[str, Any]) -> None:  # noqa: ARG001 - the hook's signature
    """Most random deadlines have passed: an honest 503 that would hide any other. A test of their own sends those."""
    try:
        passed = float(case.headers.get(DEADLINE, "")) < FAR_AWAY
    except ValueError:
        return
    if passed:
        case.headers[DEADLINE] = str(FAR_AWAY)
