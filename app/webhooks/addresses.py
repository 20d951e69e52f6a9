"""Which addresses may be dialled: public ones, and those of the networks that the operator has allowed.

Judged is the address that is dialled, after the name was resolved and not how it was written. A list of our own, since
`ipaddress.is_global` says yes to NAT64 and 6to4 forms of private addresses, and to some that are for nobody.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
# the addresses of a host, as they are written
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

# the special-purpose registry of IPv4, multicast, and the one public address at which a cloud answers its guests alone
_FORBIDDEN_V4 = tuple(
    map(
        IPv4Network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
            *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32"),
        ),
    )
)
# all that is public lies in here; within it: protocols and Teredo, documentation, 6to4
_GLOBAL_V6 = IPv6Network("2000::/3")
_FORBIDDEN_V6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
# IPv6 words for an IPv4 address, which is the one that counts
_MAPPED = IPv6Network("::ffff:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")


class ForbiddenAddressError(Exception):
    """The host has an address that must not be dialled."""


def is_allowed(text: str, allowed: Sequence[Network]) -> bool:
    """Whether the address may be dialled: it is public, or lies in one of these networks."""
    address = _meant(ip_address(text))
    if is_own(text, allowed):
        return True
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _FORBIDDEN_V4)
    return address in _GLOBAL_V6 and not any(address in network for network in _FORBIDDEN_V6)


def is_own(text: str, allowed: Sequence[Network]) -> bool:
    """Whether the address lies in one of the allowed networks."""
    address = _meant(ip_address(text))
    return any(address in network for network in allowed)


def _meant(address: Address) -> Address:
    if isinstance(address, IPv6Address) and (address in _MAPPED or address in _NAT64):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


async def addresses_of(host: str, port: int) -> list[str]:
    """The addresses of the host by the system's resolver. Raises OSError, UnicodeError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


async def checked_addresses(host: str, port: int, allowed: Sequence[Network], resolve: Resolve) -> Sequence[str]:
    """The addresses of the host, each of which may be dialled. One that may not forbids them all.

    Raises ForbiddenAddressError, and what the resolver raises.
    """
    addresses = await resolve(host, port)
    if not addresses or not all(is_allowed(address, allowed) for address in addresses):
        raise ForbiddenAddressError
    return addresses
