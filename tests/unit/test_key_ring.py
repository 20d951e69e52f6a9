"""KeyRing: a busy key costs one look-up a second, and a revoked one opens nothing after that."""

from typing import NamedTuple

import asyncpg
import pytest

from app import security
from app.database import Database
from app.security import KEY_CACHE_SECONDS, KeyRing, hash_token, new_api_key
from tests.factories import ACTOR, make_api_key


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Ring(NamedTuple):
    keys: KeyRing
    clock: Clock


@pytest.fixture
def ring(database: Database) -> Ring:
    clock = Clock()
    return Ring(KeyRing(database, clock), clock)


async def revoke(conn: asyncpg.Connection, key: str) -> None:
    await conn.fetchval("SELECT revoke_api_key($1, $2)", ACTOR, key[: security.SHOWN_PREFIX_LENGTH])


async def test_a_live_key_is_found_with_its_scopes(ring: Ring, conn: asyncpg.Connection) -> None:
    found = await ring.keys.find(await make_api_key(conn, "frontend"))

    assert found is not None
    assert found.scopes == {"frontend"}


async def test_an_unknown_key_is_not_found(ring: Ring) -> None:
    assert await ring.keys.find(new_api_key()) is None


async def test_within_a_second_the_answer_is_remembered(ring: Ring, conn: asyncpg.Connection) -> None:
    key = await make_api_key(conn, "admin")
    found = await ring.keys.find(key)
    await revoke(conn, key)

    ring.clock.now += KEY_CACHE_SECONDS - 0.001

    assert await ring.keys.find(key) == found


async def test_after_a_second_a_revoked_key_opens_nothing(ring: Ring, conn: asyncpg.Connection) -> None:
    key = await make_api_key(conn, "admin")
    await ring.keys.find(key)
    await revoke(conn, key)

    ring.clock.now += KEY_CACHE_SECONDS

    assert await ring.keys.find(key) is None


async def test_a_new_key_that_was_tried_too_early_opens_after_a_second(ring: Ring, conn: asyncpg.Connection) -> None:
    key = new_api_key()
    assert await ring.keys.find(key) is None
    await conn.fetchval("SELECT create_api_key($1, 'late', 'hf_late', $2, '{admin}')", ACTOR, hash_token(key))

    assert await ring.keys.find(key) is None
    ring.clock.now += KEY_CACHE_SECONDS
    assert await ring.keys.find(key) is not None


async def test_the_memory_is_bounded(ring: Ring, conn: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security, "KEY_CACHE_SIZE", 3)
    key = await make_api_key(conn, "admin")
    await ring.keys.find(key)
    await revoke(conn, key)

    for _ in range(2):
        await ring.keys.find(new_api_key())
    assert await ring.keys.find(key) is not None
    await ring.keys.find(new_api_key())

    assert await ring.keys.find(key) is None


def test_keys_are_long_random_and_recognisable() -> None:
    keys = {new_api_key() for _ in range(100)}

    assert len(keys) == 100
    assert all(key.startswith("hf_") and len(key) >= 43 for key in keys)


def test_what_is_shown_of_a_key_is_far_from_all_of_it() -> None:
    assert len(new_api_key()) - security.SHOWN_PREFIX_LENGTH >= 32
