"""API keys of two projects, for the kinds that need one: the tests know them, and no installation has them."""

from contract.access import Scope, checksum, key_digest


def _key(key_id: str) -> str:
    unchecked = f"ds_live_{key_id}_{'s' * 43}"
    return unchecked + checksum(unchecked)


_KEY_ID = "kindsUnderTe"
_OTHER_KEY_ID = "otherProject"
KEY_OF_DEFAULT_PROJECT = _key(_KEY_ID)
OTHER_PROJECT = "other"
KEY_OF_OTHER_PROJECT = _key(_OTHER_KEY_ID)

# Statements of the owner of the schema.
STORED_KEYS = f"""
    INSERT INTO project (name, project_key) VALUES ('other', '{OTHER_PROJECT}');
    INSERT INTO api_key (project_id, key_id, name, scopes, digest, created_at)
    SELECT project_id, key_id, 'tests', '{{{Scope.INGEST},{Scope.READ}}}', digest, now()
      FROM (VALUES ('default', '{_KEY_ID}', '\\x{key_digest(KEY_OF_DEFAULT_PROJECT).hex()}'::bytea),
                   ('{OTHER_PROJECT}', '{_OTHER_KEY_ID}', '\\x{key_digest(KEY_OF_OTHER_PROJECT).hex()}'))
           AS key_of (project_key, key_id, digest)
      JOIN project USING (project_key);
"""  # noqa: S608 - of constants of this file
