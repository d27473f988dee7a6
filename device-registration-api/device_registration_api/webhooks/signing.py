"""Signs what is sent, by the Standard Webhooks specification, version 1: HMAC-SHA256 over id, time and body."""

import base64
import hmac
from collections.abc import Mapping, Sequence
from hashlib import sha256

SECRET_BYTES = 32
_PREFIX = "whsec_"


def secret_text(secret: bytes) -> str:
    """Return a secret as its owner gets it."""
    return _PREFIX + base64.b64encode(secret).decode()


def signed_headers(secrets: Sequence[bytes], message_id: str, seconds: int, body: bytes) -> Mapping[str, str]:
    """Return the three headers of an attempt at this time; during a rotation there are two signatures."""
    signed = f"{message_id}.{seconds}.".encode() + body
    signatures = [base64.b64encode(hmac.digest(secret, signed, sha256)).decode() for secret in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(f"v1,{each}" for each in signatures),
    }
