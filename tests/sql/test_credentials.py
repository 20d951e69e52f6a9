"""put_credentials, delete_credentials, list_credentials, credentials_json; what the handler and the rotation call:

stored_credentials, record_credentials_check, old_credentials, rotate_credentials, credentials_by_key.
"""

import asyncio
import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.concurrency.rivals import begin, outcomes, until_waiting
from tests.conftest import Connect
from tests.credentials.support import put_provider
from tests.factories import ACTOR, TOMORROW, make_customer
from tests.sql.support import NOBODY, call, call_json, call_row, call_value, one, refused, violates

ANN = json.dumps({"type": "customer", "id": "customer:ann", "customer_ref": "ann"})
SEALED = "key_id, nonce, ciphertext, version"


def nonce(text: str) -> bytes:
    return text.encode().ljust(12, b".")


async def put(conn: asyncpg.Connection, text: str = "one", **overrides: Any) -> Any:
    """Store a ciphertext, whatever it may be: the database does not look into it."""
    arguments = {"p_actor": ACTOR, "p_provider": "gametime", "p_customer_ref": "ann", "p_key_id": "k1"} | overrides
    return await call_json(
        conn, "put_credentials", p_nonce=nonce(text), p_ciphertext=f"cipher {text}".encode(), **arguments
    )


async def only_id(conn: asyncpg.Connection) -> UUID:
    return UUID(str(await conn.fetchval("SELECT id FROM provider_credentials")))


async def record(conn: asyncpg.Connection, version: int, status: str = "valid", detail: str = "") -> bool:
    return bool(
        await call_value(
            conn,
            "record_credentials_check",
            p_actor=ACTOR,
            p_credentials_id=await only_id(conn),
            p_version=version,
            p_status=status,
            p_detail=detail,
            p_now=TOMORROW,
        )
    )


async def rotate(conn: asyncpg.Connection, ids: list[UUID], old: list[str], new: list[str]) -> int:
    return int(
        await call_value(
            conn,
            "rotate_credentials",
            p_actor=ACTOR,
            p_key_id="k2",
            p_ids=ids,
            p_old_nonces=[nonce(text) for text in old],
            p_nonces=[nonce(text) for text in new],
            p_ciphertexts=[f"cipher {text}".encode() for text in new],
        )
    )


@pytest.fixture(autouse=True)
async def _provider(conn: asyncpg.Connection) -> None:
    await put_provider(conn)


async def test_what_is_stored_is_not_answered(conn: asyncpg.Connection) -> None:
    answer = await put(conn, p_now=TOMORROW)

    at = answer["created_at"]
    assert answer == {
        "provider": "gametime",
        "customer_ref": "ann",
        "status": "unchecked",
        "checked_at": None,
        "check_detail": None,
        "created_at": at,
        "updated_at": at,
    }
    assert await one(conn, f"SELECT {SEALED} FROM provider_credentials") == (
        "k1",
        nonce("one"),
        b"cipher one",
        1,
    )


async def test_a_job_to_check_them_waits_in_the_providers_queue(conn: asyncpg.Connection) -> None:
    await put(conn)
    await put(conn, "two")

    credentials_id = str(await only_id(conn))
    row = await one(conn, "SELECT job_type, queue, dedupe_key, payload, status, booking_id FROM jobs")
    payload = json.dumps({"credentials_id": credentials_id})
    assert row == ("check_credentials", "provider:gametime", credentials_id, payload, "pending", None)


async def test_new_ones_replace_the_old_and_are_unchecked(conn: asyncpg.Connection) -> None:
    await put(conn)
    await record(conn, 1, detail="welcome")
    before = await only_id(conn)

    answer = await put(conn, "two", p_key_id="k2")

    assert (answer["status"], answer["checked_at"], answer["check_detail"]) == ("unchecked", None, None)
    assert await only_id(conn) == before
    assert await one(conn, f"SELECT {SEALED} FROM provider_credentials") == (
        "k2",
        nonce("two"),
        b"cipher two",
        2,
    )


async def test_a_provider_that_nobody_put_takes_none(conn: asyncpg.Connection) -> None:
    with refused("SB022", "provider_not_found"):
        await put(conn, p_provider="nowhere")

    assert await one(conn, "SELECT (SELECT count(*) FROM customers), (SELECT count(*) FROM jobs)") == (0, 0)


async def test_a_customers_own_token_stores_for_that_customer_alone(conn: asyncpg.Connection) -> None:
    answer = await put(conn, p_actor=ANN, p_customer_ref="bob")

    assert answer["customer_ref"] == "ann"
    assert await one(conn, "SELECT ref FROM customers") == ("ann",)


async def test_rivals_who_store_for_one_new_customer_store_once(conn: asyncpg.Connection, connect: Connect) -> None:
    rivals = [await connect() for _ in range(5)]
    async with conn.transaction():
        await conn.execute("LOCK TABLE provider_credentials IN SHARE MODE")
        tasks = begin(put(rival, f"r{n}") for n, rival in enumerate(rivals))
        await until_waiting(await connect(), 5)
    won, lost = await outcomes(tasks)

    assert (len(won), lost) == (5, [])
    assert await one(conn, "SELECT max(version), count(*) FROM provider_credentials") == (5, 1)
    assert await one(conn, "SELECT count(*) FROM jobs") == (1,)


async def test_what_is_deleted_is_gone_for_good(conn: asyncpg.Connection) -> None:
    await put(conn)
    await put(conn, "bobs", p_customer_ref="bob")

    await call(conn, "delete_credentials", p_actor=ACTOR, p_provider="gametime", p_customer_ref="ann")

    assert await one(conn, "SELECT ciphertext FROM provider_credentials") == (b"cipher bobs",)
    trail = await conn.fetchval("SELECT string_agg(to_jsonb(a)::text, '') FROM audit_log a")
    assert b"cipher".hex() not in trail
    with refused("SB023", "credentials_not_found") as refusal:
        await call(conn, "delete_credentials", p_actor=ACTOR, p_provider="gametime", p_customer_ref="ann")
    assert refusal.detail == {"provider": "gametime", "customer_ref": "ann"}


async def test_a_customers_own_token_deletes_nobody_elses(conn: asyncpg.Connection) -> None:
    await put(conn, p_customer_ref="bob")

    with refused("SB023", "credentials_not_found"):
        await call(conn, "delete_credentials", p_actor=ANN, p_provider="gametime", p_customer_ref="bob")


async def test_pages_follow_each_other_and_filters_hold_together(conn: asyncpg.Connection) -> None:
    await put_provider(conn, "other")
    for n, (ref, provider) in enumerate([("ann", "gametime"), ("bob", "gametime"), ("ann", "other")]):
        await put(conn, f"{n}", p_customer_ref=ref, p_provider=provider, p_now=TOMORROW + timedelta(minutes=n))

    async def found(**filters: Any) -> Any:
        page = await call_json(conn, "list_credentials", **filters)
        return [(item["customer_ref"], item["provider"]) for item in page["items"]], page["next_cursor"]

    first, cursor = await found(p_limit=2)
    assert first == [("ann", "gametime"), ("bob", "gametime")]
    assert await found(p_limit=2, p_cursor=cursor) == ([("ann", "other")], None)
    assert await found(p_customer_ref="ann") == ([("ann", "gametime"), ("ann", "other")], None)
    assert await found(p_customer_ref="ann", p_provider="other") == ([("ann", "other")], None)
    assert await found(p_customer_ref="nobody") == ([], None)


async def test_one_shape_has_no_part_of_the_secret(conn: asyncpg.Connection) -> None:
    await put(conn)

    shape = json.loads(await conn.fetchval("SELECT credentials_json(c, 'ann') FROM provider_credentials c"))

    assert shape.keys().isdisjoint({"key_id", "nonce", "ciphertext"})


async def test_the_trail_says_that_the_secret_changed_and_never_to_what(conn: asyncpg.Connection) -> None:
    await put(conn)
    await put(conn, "two")
    await record(conn, 2, "invalid", "no such user")

    rows = await conn.fetch("SELECT * FROM audit_log WHERE subject_type = 'credentials' ORDER BY id")

    assert [(row["event"], row["hidden_changes"]) for row in rows] == [
        ("credentials.created", ["nonce", "ciphertext"]),
        ("credentials.modified", ["nonce", "ciphertext"]),
        ("credentials.invalid", []),
    ]
    assert {row["subject_id"] for row in rows} == {str(await only_id(conn))}
    text = str([dict(row) for row in rows])
    assert b"cipher".hex() not in text
    assert nonce("one").hex() not in text


async def test_the_handler_finds_them_with_whose_they_are_and_how_to_ask(conn: asyncpg.Connection) -> None:
    await put(conn)

    row = await call_row(conn, "stored_credentials", p_credentials_id=await only_id(conn))

    assert dict(row) == {
        "credentials_id": await only_id(conn),
        "credentials_version": 1,
        "provider": "gametime",
        "customer_ref": "ann",
        "key_id": "k1",
        "nonce": nonce("one"),
        "ciphertext": b"cipher one",
        "adapter": "club",
        "settings": '{"url": "http://127.0.0.1:1/"}',
        "is_enabled": True,
    }
    assert await call(conn, "stored_credentials", p_credentials_id=NOBODY) == []


async def test_a_check_is_recorded_with_its_time_and_words(conn: asyncpg.Connection) -> None:
    await put(conn)

    assert await record(conn, 1, "invalid", "no such user") is True

    query = "SELECT status, checked_at, check_detail, version FROM provider_credentials"
    assert await one(conn, query) == ("invalid", TOMORROW, "no such user", 1)


async def test_a_check_of_older_ones_is_not_recorded(conn: asyncpg.Connection) -> None:
    await put(conn)
    await put(conn, "two")

    assert await record(conn, 1, "invalid") is False

    assert await one(conn, "SELECT status, checked_at FROM provider_credentials") == ("unchecked", None)


async def test_a_check_that_races_with_newer_ones_loses(conn: asyncpg.Connection, connect: Connect) -> None:
    await put(conn)
    rival = await connect()
    async with conn.transaction():
        await put(conn, "two")
        (checked,) = begin([record(rival, 1, "invalid")])
        await until_waiting(await connect(), 1)

    assert await checked is False
    assert await one(conn, "SELECT status FROM provider_credentials") == ("unchecked",)


@pytest.mark.parametrize(
    ("constraint", "change"),
    [
        ("provider_credentials_status_check", "status = 'good', checked_at = now()"),
        ("provider_credentials_checked_check", "status = 'valid'"),
        ("provider_credentials_checked_check", "checked_at = now()"),
        ("provider_credentials_checked_check", "check_detail = 'words'"),
        ("provider_credentials_nonce_check", "nonce = '\\x00'"),
        ("provider_credentials_provider_fkey", "provider = 'nowhere'"),
        ("provider_credentials_customer_id_fkey", "customer_id = gen_random_uuid()"),
    ],
)
async def test_no_writer_makes_nonsense_of_them(conn: asyncpg.Connection, constraint: str, change: str) -> None:
    await put(conn)

    with violates(constraint):
        await conn.execute(f"UPDATE provider_credentials SET {change}")


async def test_a_customer_has_one_set_at_a_provider(conn: asyncpg.Connection) -> None:
    await put(conn)

    with violates("provider_credentials_provider_customer_id_key"):
        await conn.execute(
            """INSERT INTO provider_credentials (provider, customer_id, key_id, nonce, ciphertext)
            SELECT provider, customer_id, key_id, nonce, ciphertext FROM provider_credentials"""
        )


async def test_old_ones_come_by_id_and_none_that_are_under_the_key(conn: asyncpg.Connection) -> None:
    for n in range(5):
        await put(conn, f"{n}", p_customer_ref=f"c{n}", p_key_id="k2" if n == 3 else "k1")
    ids = [row["id"] for row in await conn.fetch("SELECT id FROM provider_credentials WHERE key_id = 'k1' ORDER BY id")]

    first = await call(conn, "old_credentials", p_key_id="k2", p_after=NOBODY, p_limit=3)
    rest = await call(conn, "old_credentials", p_key_id="k2", p_after=first[-1]["credentials_id"], p_limit=3)

    assert [row["credentials_id"] for row in first] == ids[:3]
    assert [row["credentials_id"] for row in rest] == ids[3:]
    assert {(row["provider"], row["key_id"]) for row in first + rest} == {("gametime", "k1")}
    assert await call(conn, "old_credentials", p_key_id="k2", p_after=ids[-1], p_limit=3) == []


async def test_rotation_moves_what_is_as_it_was_read_and_nothing_else(conn: asyncpg.Connection) -> None:
    await put(conn, "a1")
    await put(conn, "b1", p_customer_ref="bob")
    rows = await conn.fetch("SELECT id, nonce FROM provider_credentials ORDER BY nonce")
    ids = [row["id"] for row in rows]
    await put(conn, "b2", p_customer_ref="bob")

    assert await rotate(conn, ids, ["a1", "b1"], ["a9", "b9"]) == 1

    rows = await conn.fetch("SELECT key_id, nonce, ciphertext, version FROM provider_credentials ORDER BY nonce")
    assert [tuple(row) for row in rows] == [
        ("k2", nonce("a9"), b"cipher a9", 1),
        ("k1", nonce("b2"), b"cipher b2", 2),
    ]
    by_key = await call(conn, "credentials_by_key")
    assert [tuple(row) for row in by_key] == [("k1", 1), ("k2", 1)]


async def test_rotation_leaves_the_check_and_the_version_as_they_are(conn: asyncpg.Connection) -> None:
    await put(conn)
    await record(conn, 1, "valid", "welcome")
    query = "SELECT status, checked_at, check_detail, version, updated_at FROM provider_credentials"
    before = await one(conn, query)

    assert await rotate(conn, [await only_id(conn)], ["one"], ["two"]) == 1

    assert await one(conn, query) == before


async def test_a_rotation_that_waits_for_a_newer_secret_does_not_undo_it(
    conn: asyncpg.Connection, connect: Connect
) -> None:
    await put(conn)
    credentials_id, rival = await only_id(conn), await connect()
    async with conn.transaction():
        await put(conn, "newer")
        (rotated,) = begin([rotate(rival, [credentials_id], ["one"], ["two"])])
        await until_waiting(await connect(), 1)

    assert await rotated == 0
    assert await one(conn, "SELECT ciphertext FROM provider_credentials") == (b"cipher newer",)


async def test_two_rotations_of_the_same_rows_in_any_order_move_each_once(
    conn: asyncpg.Connection, connect: Connect
) -> None:
    refs = [f"c{n}" for n in range(20)]
    for ref in refs:
        await put(conn, ref, p_customer_ref=ref)
    rows = await conn.fetch("SELECT id, convert_from(nonce, 'UTF8') AS text FROM provider_credentials ORDER BY id")
    there, back = list(rows), list(reversed(rows))
    rivals = [await connect(), await connect()]
    async with conn.transaction():
        await conn.execute("LOCK TABLE provider_credentials IN SHARE MODE")
        tasks = begin(
            rotate(
                rival, [r["id"] for r in order], [r["text"] for r in order], [f"{who}{r['text'][:9]}" for r in order]
            )
            for who, (rival, order) in enumerate(zip(rivals, (there, back), strict=True))
        )
        await until_waiting(await connect(), 2)

    assert sorted(await asyncio.gather(*tasks)) == [0, 20]


async def test_the_table_keeps_a_customer_with_credentials(conn: asyncpg.Connection) -> None:
    customer_id = await make_customer(conn)
    await put(conn)

    with violates("provider_credentials_customer_id_fkey"):
        await conn.execute("DELETE FROM customers WHERE id = $1", customer_id)
