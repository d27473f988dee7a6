"""Tokens as attackers make them: each is the real one but for one thing."""

import base64
import json
import time
from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

# The seed of the product's signing key (conftest.signing_key), and one that it does not have.
OURS = Ed25519PrivateKey.from_private_bytes(bytes([7]) * 32)
OTHER = Ed25519PrivateKey.from_private_bytes(bytes([8]) * 32)
PUBLIC = OURS.public_key().public_bytes_raw()


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def claims(**changes: object) -> dict[str, object]:
    """The claims of a good token; a change to None removes one."""
    now = int(time.time())
    all_claims = {
        "iss": "device-registration-api",
        "aud": "account",
        "sub": str(uuid4()),
        "iat": now,
        "exp": now + 600,
    } | changes
    return {name: value for name, value in all_claims.items() if value is not None}


def signed(own: Mapping[str, object], key: Ed25519PrivateKey = OURS, header: Mapping[str, Any] | None = None) -> str:
    """A token with these claims; `header` replaces or adds to its header."""
    return by_hand({"alg": "EdDSA", "typ": "JWT", "kid": "a"} | dict(header or {}), own, key.sign)


def by_hand(header: object, own: object, sign: Callable[[bytes], bytes]) -> str:
    """A token that no library would make."""
    message = f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(own).encode())}"
    return f"{message}.{encoded(sign(message.encode()))}"


def claims_of(real: str, **changes: object) -> dict[str, object]:
    """The claims of a real token of any kind; a change to None removes one."""
    own: dict[str, object] = json.loads(base64.urlsafe_b64decode(real.split(".")[1] + "=="))
    return {name: value for name, value in (own | changes).items() if value is not None}


def _hs256(key: bytes) -> Callable[[str], str]:
    def forge(real: str) -> str:
        return jwt.encode(claims_of(real), key, "HS256", headers={"kid": "a"})

    return forge


def _without_signature(real: str) -> str:
    return real.rpartition(".")[0] + "."


def _other_claims(real: str) -> str:
    head, _, signature = real.split(".")
    later = claims_of(real, exp=int(time.time()) + 7_200)
    return f"{head}.{encoded(json.dumps(later).encode())}.{signature}"


def _with(
    key: Ed25519PrivateKey = OURS, header: Mapping[str, Any] | None = None, **own: object
) -> Callable[[str], str]:
    return lambda real: signed(claims_of(real, **own), key, header)


def _header(header: object) -> Callable[[str], str]:
    return lambda real: by_hand(header, claims_of(real), OURS.sign)


_SOON = int(time.time()) + 86_400
_JWK = {"kty": "OKP", "crv": "Ed25519", "x": encoded(OTHER.public_key().public_bytes_raw())}
# Each takes a real token, of an account or of a project, and returns one that must be refused.
ATTACKS: dict[str, Callable[[str], str]] = {
    "none": lambda real: by_hand({"alg": "none", "typ": "JWT", "kid": "a"}, claims_of(real), lambda _: b""),
    "none, written otherwise": lambda real: by_hand({"alg": "nOnE", "kid": "a"}, claims_of(real), lambda _: b""),
    "no algorithm": _header({"typ": "JWT", "kid": "a"}),
    "algorithm is no text": _header({"alg": ["EdDSA"], "kid": "a"}),
    "HS256 with the public key": _hs256(PUBLIC),
    "HS256 with the published text": _hs256(encoded(PUBLIC).encode()),
    "other key": _with(OTHER),
    "own key in the header": _with(OTHER, {"jwk": _JWK}),
    "key at an address": _with(OTHER, {"jku": "https://attacker.example/keys", "x5u": "https://attacker.example/c"}),
    "no signature": _without_signature,
    "other claims": _other_claims,
    "signature cut": lambda real: real[:-4],
    "a byte more": lambda real: real + "AAAA",
    "four parts": lambda real: real + ".AAAA",
    "two parts": lambda real: ".".join(real.split(".")[:2]),
    "only dots": lambda _: "..",
    "twice": lambda real: f"{real},{real}",
    "long": lambda real: f"{real}.{'A' * 30_000}",
    "deep header": lambda _: f"{encoded(b'[' * 700)}.e30.AAAA",
    "header is a list": _header(["EdDSA"]),
    "payload is a list": lambda real: by_hand({"alg": "EdDSA", "kid": "a"}, [claims_of(real)], OURS.sign),
    "other audience": _with(aud="reports"),
    "audience in another case": _with(aud="Account"),
    "list of audiences": _with(aud=["account"]),
    "both audiences": _with(aud=["account", "project"]),
    "no audience": _with(aud=None),
    "other issuer": _with(iss="statistics-api"),
    "list of issuers": _with(iss=["device-registration-api"]),
    "no issuer": _with(iss=None),
    "no subject": _with(sub=None),
    "subject is no id": _with(sub="admin"),
    "subject is a number": _with(sub=1),
    "no end": _with(exp=None),
    "expired": _with(exp=int(time.time()) - 1),
    "expired long ago": _with(exp=1, iat=0),
    "end is no number": _with(exp="tomorrow"),
    "end is a truth": _with(exp=True),
    "end is huge": _with(exp=10**400),
    "not yet": _with(nbf=_SOON),
    "not before is no number": _with(nbf="now"),
    "issued tomorrow": _with(iat=_SOON),
    "no key id": lambda real: by_hand({"alg": "EdDSA"}, claims_of(real), OURS.sign),
    "unknown key id": _with(header={"kid": "z"}),
    "key id is a path": _with(OTHER, {"kid": "../../dev/null"}),
    "key id is SQL": _with(OTHER, {"kid": "a' OR 'a'='a"}),
    "key id is a list": _with(header={"kid": ["a"]}),
    "key id is an object": _with(header={"kid": {"a": "a"}}),
    "key id is null": _with(header={"kid": None}),
    "key id is empty": _with(header={"kid": ""}),
    "key id with a line end": _with(header={"kid": "a\n"}),
    "key id is huge": _with(header={"kid": "a" * 600}),
    "unknown critical header": _with(header={"crit": ["policy"], "policy": "strict"}),
    "empty critical header": _with(header={"crit": []}),
    "payload not encoded": _with(header={"b64": False, "crit": ["b64"]}),
}
