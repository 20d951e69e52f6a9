"""The address that the audit trail records is one that Postgres can store."""

import pytest
from fastapi import Request

from app.security import _client_ip


@pytest.mark.parametrize(
    ("peer", "recorded"),
    [("203.0.113.7", "203.0.113.7"), ("fe80::1%eth0", "fe80::1"), ("::1", "::1"), ("testclient", None)],
)
def test_a_peer_is_recorded_without_its_zone_or_not_at_all(peer: str, recorded: str | None) -> None:
    assert _client_ip(Request({"type": "http", "client": (peer, 1)})) == recorded
