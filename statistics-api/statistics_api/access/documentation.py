"""What responses and their documentation say about API keys and tokens."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from contract.access import KEY_PATTERN, Scope
from servicekit.http.openapi import Schema

_KEY_SCHEMES: dict[str, Schema] = {
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": f"A key of a project: `{KEY_PATTERN}`. It decides which project is recorded to and read from.",
    },
    "bearerKey": {"type": "http", "scheme": "bearer", "description": "The same key in `Authorization`."},
    "projectToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A token that was made for a key, by `POST /api/auth`. It may do what the key may.",
    },
}
_SHARE_SCHEMES: dict[str, Schema] = {
    "shareToken": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "The token of a share: it reads the figures of one view, and nothing else.",
    },
}
_TOKEN_SCHEMES: dict[str, Schema] = {
    "accountToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "An account's token, from `POST /api/v1/auth/login`.",
    },
}
# The ways to send a credential, as an OpenAPI document describes them.
SECURITY_SCHEMES: Mapping[str, Schema] = MappingProxyType(_KEY_SCHEMES | _SHARE_SCHEMES | _TOKEN_SCHEMES)
# A response depends on the key: a cache must not give it to a client with another one.
VARY = {"Vary": "Authorization, Cookie, X-API-Key"}
# The `openapi_extra` of a route for accounts.
ACCOUNT_TOKEN: dict[str, Any] = {"security": [{name: []} for name in _TOKEN_SCHEMES]}
# That of the route that tells what a share shows.
SHARE_TOKEN: dict[str, Any] = {"security": [{name: []} for name in _SHARE_SCHEMES]}
# That of a route for operators of the installation alone.
OPERATOR_TOKEN: dict[str, Any] = {"security": [{"accountToken": ["operator"]}]}
# The parameter of a path below a project; the example is the project that every installation has.
PROJECT_KEY: Schema = {
    "name": "project_key",
    "in": "path",
    "required": True,
    "schema": {"type": "string"},
    "example": "default",
    "description": "The project's own key. An API key must be one of this project, and an account a member of it.",
}


# The parameter of a path below a store; the example is one that no installation has.
STORE_ID: Schema = {
    "name": "store_id",
    "in": "path",
    "required": True,
    "schema": {"type": "integer", "minimum": 1},
    "example": 1_000_000,
    "description": "The number of the store, which is its project's.",
}


def required_key(scope: Scope) -> dict[str, Any]:
    """Return the `openapi_extra` of a route that works with a key alone, which needs this scope."""
    return {"security": [{name: [scope.value]} for name in _KEY_SCHEMES]}


def optional_key(scope: Scope) -> dict[str, Any]:
    """Return that of a route that works with such a key, and without one for the default project."""
    return {"security": [{}, *required_key(scope)["security"]]}


def shown(reading: dict[str, Any]) -> dict[str, Any]:
    """Return the `openapi_extra` of a route with figures that shares show, too (access/shares.py)."""
    return reading | {"security": reading["security"] + SHARE_TOKEN["security"]}


def project_reader() -> dict[str, Any]:
    """Return that of a route that shows a project to its API keys with the scope to read, and to its members."""
    return {"security": required_key(Scope.READ)["security"] + ACCOUNT_TOKEN["security"]}


def project_manager() -> dict[str, Any]:
    """Return that of a route that an owner of a project may use, and its API keys with the scope to manage."""
    return {"security": required_key(Scope.MANAGE)["security"] + ACCOUNT_TOKEN["security"]}
