"""Which addresses may be dialled, however they are written."""

from ipaddress import ip_network

import pytest

from app.webhooks.addresses import ForbiddenAddressError, addresses_of, checked_addresses, is_allowed

PUBLIC = ["93.184.216.34", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700:4700::1111", "2a00:1450:4001::1"]
PUBLIC_FORMS = ["::ffff:93.184.216.34", "64:ff9b::5db8:d822"]
FORBIDDEN = {
    "this host": ["0.0.0.0", "0.1.2.3", "::"],  # noqa: S104
    "loopback": ["127.0.0.1", "127.255.255.254", "::1"],
    "private": ["10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "fc00::1", "fd12:3456::1"],
    "shared": ["100.64.0.1", "100.127.255.255"],
    "link-local": ["169.254.0.1", "fe80::1", "fe80::1%eth0", "febf::1"],
    "site-local": ["fec0::1"],
    "metadata": ["169.254.169.254", "168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"],
    "protocols": ["192.0.0.8", "2001::1", "2001:2::1", "198.18.0.1", "198.19.255.255", "5f00::1", "100::1"],
    "multicast": ["224.0.0.1", "239.255.255.255", "ff02::1"],
    "reserved": ["240.0.0.1", "255.255.255.255"],
    "mapped": ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254"],
    "compatible": ["::127.0.0.1", "::a00:1"],
    "NAT64": ["64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "64:ff9b:1::a00:1"],
    "6to4": ["2002:7f00:1::", "2002:a00:1::1", "2002:5db8:d822::1", "192.88.99.1"],
    "Teredo": ["2001:0:4136:e378:8000:63bf:3fff:fdd2"],
}


@pytest.mark.parametrize("address", PUBLIC + PUBLIC_FORMS)
def test_a_public_address_may_be_dialled(address: str) -> None:
    assert is_allowed(address, ())


@pytest.mark.parametrize("address", [address for addresses in FORBIDDEN.values() for address in addresses])
def test_no_other_may(address: str) -> None:
    assert not is_allowed(address, ())


def test_an_allowed_network_is_allowed_in_every_form_and_its_neighbours_are_not() -> None:
    allowed = (ip_network("10.1.0.0/16"), ip_network("fd00:1::/32"))

    assert all(is_allowed(address, allowed) for address in ("10.1.2.3", "::ffff:10.1.2.3", "fd00:1::5"))
    assert not any(is_allowed(address, allowed) for address in ("10.2.0.1", "fd00:2::5", "2002:a01:203::1"))


async def test_one_forbidden_address_forbids_the_host() -> None:
    async def mixed(_host: str, _port: int) -> list[str]:
        return ["93.184.216.34", "10.0.0.1"]

    async def none(_host: str, _port: int) -> list[str]:
        return []

    for resolve in (mixed, none):
        with pytest.raises(ForbiddenAddressError):
            await checked_addresses("example.com", 443, (), resolve)


@pytest.mark.parametrize("host", ["localhost", "127.1", "2130706433", "0x7f000001", "017700000001", "0177.0.0.1"])
async def test_what_the_system_makes_of_a_name_is_judged_and_not_the_name(host: str) -> None:
    with pytest.raises(ForbiddenAddressError):
        await checked_addresses(host, 80, (), addresses_of)
