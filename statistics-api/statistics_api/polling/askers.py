"""Who repeats a question, by what the process remembers; see `statistics_api.polling.repeated_questions.Identify`."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from contract.access import Scope
from statistics_api.access.credentials import remembered_credential
from statistics_api.access.projects import remembered_project
from statistics_api.polling.repeated_questions import Asker, Identify


def with_optional_key(headers: Mapping[bytes, bytes], state: Mapping[str, Any]) -> Asker | None:
    """Return the project of a credential that may read; without one, the first project."""
    credential = remembered_credential(headers, state, Scope.READ)
    return None if credential is None else Asker(credential.project_id, credential)


def with_key(headers: Mapping[bytes, bytes], state: Mapping[str, Any]) -> Asker | None:
    """Return the same, and nobody without a credential."""
    asker = with_optional_key(headers, state)
    return None if asker is None or asker.credential is None or asker.credential.key_id is None else asker


def at_project(project_key: str) -> Identify:
    """Return the function for the project that a path names, which may be read with an account's token, too."""
    return partial(_at_project, project_key=project_key)


def _at_project(headers: Mapping[bytes, bytes], state: Mapping[str, Any], project_key: str) -> Asker | None:
    found = remembered_project(headers, state, project_key)
    return None if found is None else Asker(*found)
