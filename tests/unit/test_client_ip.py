"""Who the client is: the address that the audit trail records and that limits count under."""

from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import Request

from app.client_address import client_address, principal_of
from app.settings import Settings

PROXIES = "10.0.0.0/8, 2001:db8:ffff::/48, 192.0.2.7"


def request_from(peer: str | None, *forwarded: str, proxies: str = "", **headers: str) -> Request:
    """A request from that peer, with those X-Forwarded-For headers."""
    values: dict[str, Any] = {"trusted_proxies": proxies}
    sent = [(b"x-forwarded-for", text.encode("latin-1")) for text in forwarded]
    return Request(
        {
            "type": "http",
            "client": (peer, 1) if peer is not None else None,
            "headers": sent + [(name.encode(), value.encode()) for name, value in headers.items()],
            "app": SimpleNamespace(state=SimpleNamespace(settings=Settings(_env_file=None, **values))),
        }
    )


def address_of(*args: Any, **kwargs: Any) -> str | None:
    address = client_address(request_from(*args, **kwargs))
    return str(address) if address else None


@pytest.mark.parametrize(
    ("peer", "recorded"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("fe80::1%eth0", "fe80::1"),
        ("::1", "::1"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("testclient", None),
        ("", None),
        (None, None),
    ],
)
def test_a_peer_is_recorded_as_postgres_can_store_it_or_not_at_all(peer: str | None, recorded: str | None) -> None:
    assert address_of(peer) == recorded


@pytest.mark.parametrize("proxies", ["", "192.0.2.7"])
def test_a_header_from_somebody_who_is_no_proxy_of_ours_is_not_read(proxies: str) -> None:
    assert address_of("203.0.113.7", "198.51.100.1", proxies=proxies) == "203.0.113.7"


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        (["198.51.100.1"], "198.51.100.1"),
        # what the client sent before the proxy wrote its address to the right of it
        (["1.2.3.4, 198.51.100.1"], "198.51.100.1"),
        (["1.2.3.4", "198.51.100.1"], "198.51.100.1"),
        # a proxy behind a proxy
        (["1.2.3.4, 198.51.100.1, 10.9.9.9"], "198.51.100.1"),
        (["1.2.3.4,198.51.100.1 ,\t10.9.9.9"], "198.51.100.1"),
        (["198.51.100.1:4711"], "198.51.100.1"),
        (["2001:db8::1"], "2001:db8::1"),
        (["[2001:db8::1]"], "2001:db8::1"),
        (["[2001:db8::1]:4711, 2001:db8:ffff::5"], "2001:db8::1"),
        (["::ffff:198.51.100.1"], "198.51.100.1"),
        # nobody but proxies: the first of them
        (["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
        ([], "10.0.0.1"),
    ],
)
def test_the_client_is_the_rightmost_address_that_is_no_proxys(forwarded: list[str], client: str) -> None:
    assert address_of("10.0.0.1", *forwarded, proxies=PROXIES) == client


@pytest.mark.parametrize(
    "nonsense",
    [
        "",
        ",",
        "unknown",
        "_hidden",
        "1.2.3",
        "1.2.3.4.5",
        "[::1",
        "999.1.1.1",
        "1.2.3.4:",
        "0x7f.1",
        "\xe9",
        "-" * 9000,
    ],
)
def test_what_is_no_address_ends_the_walk_at_the_last_that_was_one(nonsense: str) -> None:
    assert address_of("10.0.0.1", nonsense, proxies=PROXIES) == "10.0.0.1"
    assert address_of("10.0.0.1", f"198.51.100.1, {nonsense}, 10.2.2.2", proxies=PROXIES) == "10.2.2.2"


def test_forwarded_is_not_read() -> None:
    assert address_of("10.0.0.1", proxies=PROXIES, forwarded="for=198.51.100.1") == "10.0.0.1"


def test_limits_count_an_ipv6_network_as_one_and_an_ipv4_address_by_itself() -> None:
    def principal(peer: str) -> str:
        address = client_address(request_from(peer))
        assert address
        return principal_of(address)

    assert principal("2001:db8::1") == principal("2001:db8::ffff:1") == "address:2001:db8::/64"
    assert principal("2001:db8:0:1::1") != principal("2001:db8::1")
    assert principal("203.0.113.7") == "address:203.0.113.7"
