"""Teaches Schemathesis to send text as application/x-ndjson; it loads this by SCHEMATHESIS_HOOKS."""

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def as_text(_: schemathesis.SerializationContext, value: object) -> bytes:
    return str(value).encode()
