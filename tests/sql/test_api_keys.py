"""create_api_key, find_api_key, list_api_keys, revoke_api_key: a key is its hash, and revoking ends it."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.factories import ACTOR, TOMORROW
from tests.sql.support import call, call_value, one, violates


async def create(conn: asyncpg.Connection, **overrides: Any) -> UUID:
    arguments = {
        "p_actor": ACTOR,
        "p_name": "shop",
        "p_prefix": "hf_aaaa",
        "p_key_hash": b"hash",
        "p_scopes": ["frontend"],
    }
    return UUID(str(await call_value(conn, "create_api_key", **(arguments | overrides))))


async def revoke(conn: asyncpg.Connection, prefix: str) -> int:
    return int(await call_value(conn, "revoke_api_key", p_actor=ACTOR, p_prefix=prefix, p_now=TOMORROW))


async def find(conn: asyncpg.Connection, key_hash: bytes = b"hash") -> list[asyncpg.Record]:
    return await call(conn, "find_api_key", p_key_hash=key_hash)


async def test_a_key_is_found_by_its_hash_with_its_scopes(conn: asyncpg.Connection) -> None:
    key_id = await create(conn, p_scopes=["frontend", "cron"])

    assert [tuple(row) for row in await find(conn)] == [(key_id, ["frontend", "cron"])]
    assert await find(conn, b"hash of another") == []


async def test_a_revoked_key_is_not_found(conn: asyncpg.Connection) -> None:
    await create(conn)

    assert await revoke(conn, "hf_aaaa") == 1

    assert await find(conn) == []
    assert await one(conn, "SELECT revoked_at FROM api_keys") == (TOMORROW,)
    assert await revoke(conn, "hf_aaaa") == 0


async def test_revoking_ends_no_other_key(conn: asyncpg.Connection) -> None:
    await create(conn)
    await create(conn, p_prefix="hf_aaaa2", p_key_hash=b"other")

    assert await revoke(conn, "hf_aaa") == 0
    assert await revoke(conn, "hf_aaaa") == 1

    assert len(await find(conn, b"other")) == 1


async def test_the_list_shows_every_key_newest_first_and_no_hash(conn: asyncpg.Connection) -> None:
    for n, name in enumerate(("first", "second", "third")):
        await create(
            conn,
            p_name=name,
            p_prefix=f"hf_{name}",
            p_key_hash=name.encode(),
            p_now=TOMORROW + timedelta(minutes=n),
        )
    await revoke(conn, "hf_second")

    keys = await call(conn, "list_api_keys")

    assert [key["name"] for key in keys] == ["third", "second", "first"]
    assert [key["revoked_at"] for key in keys] == [None, TOMORROW, None]
    assert set(keys[0].keys()) == {"key_id", "name", "prefix", "scopes", "created_at", "revoked_at"}


@pytest.mark.parametrize("scopes", [["root"], ["admin", "root"], []])
async def test_a_key_has_known_scopes_and_at_least_one(conn: asyncpg.Connection, scopes: list[str]) -> None:
    with violates("api_keys_scopes_check"):
        await create(conn, p_scopes=scopes)


async def test_two_keys_never_share_a_hash(conn: asyncpg.Connection) -> None:
    await create(conn)

    with violates("api_keys_key_hash_key"):
        await create(conn, p_prefix="hf_bbbb")


async def test_the_trail_says_who_revoked_it(conn: asyncpg.Connection) -> None:
    key_id = await create(conn)
    await revoke(conn, "hf_aaaa")

    rows = await conn.fetch("SELECT event, performed_by_id, subject_id FROM audit_log ORDER BY id")
    assert [tuple(row) for row in rows] == [
        ("api_key.created", "tester", str(key_id)),
        ("api_key.modified", "tester", str(key_id)),
    ]
