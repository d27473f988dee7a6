"""Sabotage: the claims of identities collide with nothing, because their unique key was dropped (see the test)."""

from device_registration_api import idempotency

_COLLIDE = "ON CONFLICT (project_id, key) DO NOTHING"
assert _COLLIDE in idempotency.CLAIM_KEYS, "nothing to sabotage"
idempotency.CLAIM_KEYS = idempotency.CLAIM_KEYS.replace(_COLLIDE, "")
