"""Wraps a person's key under a key-encryption key (KEK). Another keeper, such as a KMS, would have the same methods."""

from typing import NamedTuple
from uuid import UUID

from device_registration_api.personal.keys import NumberedKeys
from device_registration_api.personal.sealing import SealBroken, decrypt, encrypt


class WrappedKey(NamedTuple):
    """A person's key, encrypted under the KEK of this number."""

    kek: int
    wrapped: bytes


class Keeper:
    """Wraps under the current KEK, and unwraps under each KEK that it has."""

    def __init__(self, keks: NumberedKeys) -> None:
        self._keks = keks

    @property
    def current(self) -> int:
        """The number of the KEK that new keys are wrapped under."""
        return self._keks.current

    def wrap(self, key: bytes, key_id: UUID) -> WrappedKey:
        """Encrypt a person's key under the current KEK."""
        kek = self._keks.current
        return WrappedKey(kek, encrypt(self._keks.by_number[kek], key, _associated(kek, key_id)))

    def unwrap(self, wrapped: WrappedKey, key_id: UUID) -> bytes:
        """Return a person's key. Raises SealBroken, also when the KEK of that number is not there (any more)."""
        kek = self._keks.by_number.get(wrapped.kek)
        if kek is None:
            message = f"key-encryption key {wrapped.kek} is not in PERSONAL_KEKS"
            raise SealBroken(message)
        return decrypt(kek, wrapped.wrapped, _associated(wrapped.kek, key_id))


def _associated(kek: int, key_id: UUID) -> bytes:
    return key_id.bytes + kek.to_bytes(2, "big")
