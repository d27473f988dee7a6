"""What Schemathesis cannot know of the services; it loads this by SCHEMATHESIS_HOOKS."""

import os
from typing import Any

import schemathesis

from statistics_api.delivery.batches import NDJSON_TYPES

TEXT_CHARACTERS_MAX = 255
DEADLINE = "X-Request-Deadline"
UNUSUAL_LENGTH = 3
FAR_AWAY = 99_999_999_999.0


@schemathesis.serializer(*NDJSON_TYPES)
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


@schemathesis.hook
def map_path_parameters(_: schemathesis.HookContext, parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    """Random projects do not exist, and their 404 would hide any other answer: most requests name one that does."""
    if parameters and len(str(parameters.get("project_key", ""))) != UNUSUAL_LENGTH:
        parameters["project_key"] = os.environ["PROJECT"]
    return parameters


@schemathesis.hook
def filter_body(_: schemathesis.HookContext, body: object) -> bool:
    """A schema counts the white space around a text, which the services remove before they count."""
    texts = [value for value in body.values() if isinstance(value, str)] if isinstance(body, dict) else []
    return not any(len(text.strip()) <= TEXT_CHARACTERS_MAX < len(text) for text in texts)
