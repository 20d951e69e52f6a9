"""create_api_key, find_api_key, list_api_keys, revoke_api_key, end_api_key, rotate_api_key, record_api_key_uses.

A key is its hash; revoking ends it at once, its expiry by itself, and rotating after an overlap. All of them answer by
api_key_json, and lock_api_key finds what they change.
"""

import json
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.conftest import Connect
from tests.factories import ACTOR, HOUR, TOMORROW
from tests.sql.support import NOBODY, TICK, call, call_json, call_value, one, refused, violates


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
    assert all("hash" not in json.loads(key["body"]) for key in keys)
    assert json.loads(keys[1]["body"])["prefix"] == "hf_second"


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


async def rotate(conn: asyncpg.Connection, key_id: UUID, new: str = "new", **overrides: Any) -> Any:
    arguments = {"p_actor": ACTOR, "p_key_id": key_id, "p_prefix": f"hf_{new}", "p_key_hash": new.encode()}
    return await call_json(conn, "rotate_api_key", **(arguments | {"p_now": TOMORROW} | overrides))


async def opens(conn: asyncpg.Connection, key_hash: bytes, now: datetime) -> bool:
    return bool(await call(conn, "find_api_key", p_key_hash=key_hash, p_now=now))


async def test_a_key_opens_until_the_instant_at_which_it_ends(conn: asyncpg.Connection) -> None:
    await create(conn, p_expires_in=HOUR, p_now=TOMORROW)

    assert await opens(conn, b"hash", TOMORROW + HOUR - TICK)
    assert not await opens(conn, b"hash", TOMORROW + HOUR)


async def test_a_key_cannot_end_before_it_begins_whoever_writes_it(conn: asyncpg.Connection) -> None:
    with violates("api_keys_expires_at_check"):
        await create(conn, p_expires_in=-HOUR)
    await create(conn)
    with violates("api_keys_expires_at_check"):
        await conn.execute("UPDATE api_keys SET expires_at = created_at - interval '1 second'")


async def test_one_key_is_ended_by_its_id_once(conn: asyncpg.Connection) -> None:
    key_id = await create(conn)
    await create(conn, p_key_hash=b"other")

    ended = await call_json(conn, "end_api_key", p_actor=ACTOR, p_key_id=key_id, p_now=TOMORROW)
    again = await call_json(conn, "end_api_key", p_actor=ACTOR, p_key_id=key_id, p_now=TOMORROW + HOUR)

    assert datetime.fromisoformat(ended["revoked_at"]) == TOMORROW
    assert again == ended
    assert not await find(conn)
    assert await find(conn, b"other")


@pytest.mark.parametrize("function", ["end_api_key", "rotate_api_key"])
async def test_a_key_that_nobody_made_is_not_found(conn: asyncpg.Connection, function: str) -> None:
    more = {"p_prefix": "hf_new", "p_key_hash": b"new"} if function == "rotate_api_key" else {}

    with refused("SB038", "api_key_not_found"):
        await call(conn, function, p_actor=ACTOR, p_key_id=NOBODY, **more)


async def test_while_they_overlap_both_keys_open_the_same(conn: asyncpg.Connection) -> None:
    old_id = await create(conn, p_scopes=["frontend", "cron"])

    new = await rotate(conn, old_id, p_overlap=HOUR)

    assert (new["name"], new["scopes"], new["prefix"]) == ("shop", ["frontend", "cron"], "hf_new")
    assert new["expires_at"] is None
    assert await opens(conn, b"hash", TOMORROW + HOUR - TICK)
    assert not await opens(conn, b"hash", TOMORROW + HOUR)
    assert await opens(conn, b"new", TOMORROW + HOUR)


async def test_an_overlap_does_not_lengthen_a_key_and_the_new_one_lives_as_long_as_the_old_was_to(
    conn: asyncpg.Connection,
) -> None:
    old_id = await create(conn, p_expires_in=2 * HOUR, p_now=TOMORROW - HOUR)

    new = await rotate(conn, old_id, p_overlap=24 * HOUR)

    assert not await opens(conn, b"hash", TOMORROW + HOUR)
    assert datetime.fromisoformat(new["expires_at"]) == TOMORROW + 2 * HOUR


async def test_without_an_overlap_the_old_key_ends_at_once(conn: asyncpg.Connection) -> None:
    old_id = await create(conn)

    await rotate(conn, old_id, p_overlap=timedelta(0))

    assert not await opens(conn, b"hash", TOMORROW)
    assert await opens(conn, b"new", TOMORROW)


@pytest.mark.parametrize("end", ["revoked_at", "expires_at"])
async def test_a_key_that_has_ended_is_not_rotated(conn: asyncpg.Connection, end: str) -> None:
    key_id = await create(conn)
    await conn.execute(f"UPDATE api_keys SET {end} = $1", TOMORROW)

    with refused("SB039", "api_key_ended"):
        await rotate(conn, key_id)
    assert await conn.fetchval("SELECT count(*) FROM api_keys") == 1


async def test_a_rotation_that_fails_leaves_the_old_key_alone(conn: asyncpg.Connection) -> None:
    key_id = await create(conn)

    with violates("api_keys_key_hash_key"):
        await rotate(conn, key_id, p_key_hash=b"hash")
    assert await one(conn, "SELECT expires_at FROM api_keys") == (None,)


async def test_a_use_is_on_record_to_the_minute_and_not_in_the_trail(conn: asyncpg.Connection) -> None:
    key_ids = [await create(conn), await create(conn, p_key_hash=b"other")]
    await create(conn, p_key_hash=b"unused")

    def record(now: datetime) -> Any:
        return call_value(conn, "record_api_key_uses", p_key_ids=key_ids, p_now=now)

    assert await record(TOMORROW) == 2
    assert await record(TOMORROW + timedelta(seconds=59)) == 0
    assert await record(TOMORROW + timedelta(seconds=60)) == 2

    used = await conn.fetch("SELECT last_used_at FROM api_keys ORDER BY last_used_at NULLS LAST")
    assert [row[0] for row in used] == [TOMORROW + timedelta(minutes=1)] * 2 + [None]
    assert await conn.fetchval("SELECT count(*) FROM audit_log WHERE event = 'api_key.modified'") == 0


async def test_a_use_does_not_wait_for_somebody_who_changes_the_key(conn: asyncpg.Connection, connect: Connect) -> None:
    key_ids = [await create(conn), await create(conn, p_key_hash=b"other")]
    rival = await connect()

    async with rival.transaction():
        await rival.execute("SELECT FROM api_keys WHERE id = $1 FOR UPDATE", key_ids[0])
        await conn.execute("SET lock_timeout = '1s'")
        assert await call_value(conn, "record_api_key_uses", p_key_ids=key_ids) == 1


async def test_what_ends_a_key_is_in_the_trail_without_its_hash(conn: asyncpg.Connection) -> None:
    await rotate(conn, await create(conn))

    rows = await conn.fetch("SELECT event, old_values, new_values FROM audit_log ORDER BY id")
    assert [row["event"] for row in rows] == ["api_key.created", "api_key.modified", "api_key.created"]
    assert all("key_hash" not in row["new_values"] for row in rows)
