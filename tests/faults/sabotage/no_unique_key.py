"""Sabotage: claims of idempotency keys collide with nothing, because their unique key was dropped (see the test)."""

from device_registration_api.events import idempotency

_COLLIDE = "ON CONFLICT (project_id, key) DO NOTHING"
assert _COLLIDE in idempotency.CLAIM_KEYS.statement, "nothing to sabotage"
_statement = idempotency.CLAIM_KEYS.statement.replace(_COLLIDE, "")
# In place: the application was told which statements to prepare.
idempotency.CLAIM_KEYS.__init__("claim_keys", _statement, {"claims": "json"})  # type: ignore[misc]
