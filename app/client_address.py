"""Where a request comes from: the connection's own address, or what a trusted proxy says of it."""

import ipaddress
import re

from fastapi import Request
from pydantic import IPvAnyNetwork

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# what proxies write: an address, alone or with a port
_WITH_PORT = re.compile(r"^\[([^\]]*)\](?::\d+)?$|^([\d.]+):\d+$")
# a household or a data centre's machine has a whole one of these
IPV6_PREFIX = 64


def client_address(request: Request) -> Address | None:
    """The client's address; None where the connection has none, such as over a Unix socket.

    From right to left, each address of X-Forwarded-For was written by whoever stands to the right of it: it is believed
    as long as that one is in TRUSTED_PROXIES. What is no address ends the walk at the last that was one.
    """
    address = _parse(request.client.host) if request.client else None
    trusted: tuple[IPvAnyNetwork, ...] = request.app.state.settings.trusted_proxies
    if address is None or not trusted:
        return address
    hops = ",".join(request.headers.getlist("x-forwarded-for")).split(",")
    while hops and any(address in network for network in trusted):
        told = _parse(hops.pop().strip())
        if told is None:
            break
        address = told
    return address


def principal_of(address: Address) -> str:
    """Whom limits count under that address: it, or its whole network where one client has so many."""
    if address.version == 4:  # noqa: PLR2004 - the version of IP
        return f"address:{address}"
    return f"address:{ipaddress.IPv6Network((address, IPV6_PREFIX), strict=False)}"


def _parse(text: str) -> Address | None:
    match = _WITH_PORT.match(text)
    bare = (match[1] or match[2] or "") if match else text
    try:
        # without the zone of a link-local address, which Postgres's inet does not know
        address = ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    # an IPv4 client of a socket that takes both
    return getattr(address, "ipv4_mapped", None) or address
