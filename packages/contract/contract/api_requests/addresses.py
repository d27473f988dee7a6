"""The address of a client, in one spelling."""

from ipaddress import IPv6Address, ip_address
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, StringConstraints, WithJsonSchema

ADDRESS_CHARACTERS_MAX = 64
_NO_ADDRESS = "must be an IPv4 or an IPv6 address, without a port and a zone"


def canonical_address(text: str) -> str:
    """Return the one spelling of an address: an IPv4 address also where it is written within an IPv6 one.

    Raises:
        ValueError: it is no address, it has a zone, or a part of an IPv4 address begins with 0, which some read as
            octal. The error does not repeat the text.
    """
    try:
        address = ip_address(text.strip())
    except ValueError:
        raise ValueError(_NO_ADDRESS) from None
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            raise ValueError(_NO_ADDRESS)
        return str(address.ipv4_mapped or address)
    return str(address)


ClientAddress: TypeAlias = Annotated[
    str,
    StringConstraints(max_length=ADDRESS_CHARACTERS_MAX),
    AfterValidator(canonical_address),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "ipv4"}, {"type": "string", "format": "ipv6"}]}),
]
