"""Replaces the addresses of clients with keyed hashes as they arrive: an address is stored and logged nowhere."""

import hashlib
import hmac
from collections.abc import Sequence

from pydantic import Field

from contract.api_requests.columns import ApiRequestColumns
from device_registration_api.personal.peppers import DailyPeppers

HASH_BYTES = 16
HEX_PREFIX = "\\x"  # of bytes as PostgreSQL reads them


class HashedColumns(ApiRequestColumns):
    """The fields of API requests with hashes in place of addresses, in PostgreSQL's own form of bytes."""

    ip_hashes: dict[int, str] = Field(default_factory=dict)


async def hash_addresses(
    columns: ApiRequestColumns, project_ids: Sequence[int], peppers: DailyPeppers
) -> HashedColumns:
    """Return the columns without addresses. Where there is no pepper there is no hash: no event is lost for it."""
    pepper = await peppers.of_today() if columns.ips else None
    hashes = (
        {}
        if pepper is None
        else {position: hash_of(address, project_ids[position], pepper) for position, address in columns.ips.items()}
    )
    fields = {name: getattr(columns, name) for name in ApiRequestColumns.model_fields}
    return HashedColumns.model_construct(**fields | {"ips": {}, "ip_hashes": hashes})


def hash_of(address: str, project_id: int, pepper: bytes) -> str:
    """Return the hash of a canonical address. It is bound to the project, so two projects' clients cannot be linked."""
    message = project_id.to_bytes(8, "big") + address.encode()
    return HEX_PREFIX + hmac.digest(pepper, message, hashlib.sha256)[:HASH_BYTES].hex()
