"""An API key of the default project, for the kinds that need one: the tests know it, and no installation has it."""

from contract.access import Scope, checksum, key_digest

_KEY_ID = "kindsUnderTe"
_UNCHECKED = f"ds_live_{_KEY_ID}_{'s' * 43}"
KEY_OF_DEFAULT_PROJECT = _UNCHECKED + checksum(_UNCHECKED)

# A statement of the owner of the schema.
STORED_KEY = f"""
    INSERT INTO api_key (project_id, key_id, name, scopes, digest, created_at)
    VALUES (1, '{_KEY_ID}', 'tests', '{{{Scope.INGEST},{Scope.READ}}}',
            '\\x{key_digest(KEY_OF_DEFAULT_PROJECT).hex()}', now());
"""  # noqa: S608 - of constants of this file
