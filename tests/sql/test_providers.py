"""put_provider, get_provider, list_providers, provider_json, provider_queue: a provider and its queue are one thing."""

import json
from datetime import time, timedelta
from typing import Any

import asyncpg
import pytest

from tests.credentials.support import put_provider
from tests.factories import ACTOR, TOMORROW
from tests.sql.support import call_json, call_value, one, refused, violates

LATER = TOMORROW + timedelta(minutes=1)


async def test_a_provider_is_as_it_was_put(conn: asyncpg.Connection) -> None:
    put = await put_provider(
        conn,
        p_timezone="Europe/Athens",
        p_booking_window_days=7,
        p_opens_at_local=time(8),
        p_max_running=3,
        p_stagger_ms=20,
        p_now=TOMORROW,
    )

    assert put == await call_json(conn, "get_provider", p_name="gametime")
    at = put["created_at"]
    assert put == {
        "name": "gametime",
        "adapter": "club",
        "settings": {"url": "http://127.0.0.1:1/"},
        "timezone": "Europe/Athens",
        "booking_window_days": 7,
        "opens_at_local": "08:00",
        "queue": "provider:gametime",
        "stagger_ms": 20,
        "max_running": 3,
        "is_enabled": True,
        "version": 1,
        "created_at": at,
        "updated_at": at,
    }
    assert await one(conn, "SELECT name, stagger_ms, max_running FROM job_queues") == ("provider:gametime", 20, 3)


async def test_starts_at_a_new_provider_are_a_little_apart(conn: asyncpg.Connection) -> None:
    put = await put_provider(conn)

    assert (put["stagger_ms"], put["max_running"]) == (50, None)
    assert (put["booking_window_days"], put["opens_at_local"], put["is_enabled"]) == (None, "00:00", True)


async def test_a_change_replaces_everything_and_grows_the_version(conn: asyncpg.Connection) -> None:
    await put_provider(conn, p_booking_window_days=7, p_max_running=3, p_now=TOMORROW)

    put = await put_provider(conn, p_adapter="other", p_is_enabled=False, p_now=LATER)

    assert (put["adapter"], put["booking_window_days"], put["max_running"]) == ("other", None, None)
    assert (put["version"], put["is_enabled"], put["created_at"] < put["updated_at"]) == (2, False, True)


@pytest.mark.parametrize(
    "change",
    [
        {"p_adapter": "other"},
        {"p_settings": "{}"},
        {"p_timezone": "Europe/Athens"},
        {"p_booking_window_days": 7},
        {"p_opens_at_local": time(8)},
        {"p_is_enabled": False},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_each_rule_by_itself_is_a_change(conn: asyncpg.Connection, change: dict[str, Any]) -> None:
    before = await put_provider(conn)

    after = await put_provider(conn, **change)

    (name,) = (name.removeprefix("p_") for name in change)
    assert after["version"] == 2
    assert after[name] != before[name]


async def test_the_same_again_changes_nothing_and_is_not_on_record(conn: asyncpg.Connection) -> None:
    first = await put_provider(conn, p_now=TOMORROW)

    assert await put_provider(conn, p_now=LATER) == first
    assert await conn.fetchval("SELECT count(*) FROM audit_log") == 2


async def test_a_provider_that_is_refused_leaves_no_queue(conn: asyncpg.Connection) -> None:
    with refused("22023"):
        await put_provider(conn, p_timezone="Mars/Olympus")

    assert await conn.fetchval("SELECT count(*) FROM job_queues") == 0


async def test_limits_that_are_refused_leave_no_provider(conn: asyncpg.Connection) -> None:
    with violates("job_queues_stagger_ms_check"):
        await put_provider(conn, p_stagger_ms=60_001)

    assert await conn.fetchval("SELECT count(*) FROM providers") == 0


@pytest.mark.parametrize("name", ["", "A", "-a", "_a", "a b", "a:b", "a" * 64, "é", "a\n"])
async def test_a_name_is_plain(conn: asyncpg.Connection, name: str) -> None:
    with violates("providers_name_check"):
        await put_provider(conn, name)


@pytest.mark.parametrize("name", ["a", "7", "game-time_7", "a" * 63])
async def test_a_plain_name_is_taken(conn: asyncpg.Connection, name: str) -> None:
    assert (await put_provider(conn, name))["name"] == name


@pytest.mark.parametrize(
    ("constraint", "change"),
    [
        ("providers_settings_check", {"p_settings": "[]"}),
        ("providers_booking_window_days_check", {"p_booking_window_days": -1}),
        ("providers_booking_window_days_check", {"p_booking_window_days": 401}),
    ],
)
async def test_rules_are_within_bounds(conn: asyncpg.Connection, constraint: str, change: dict[str, Any]) -> None:
    with violates(constraint):
        await put_provider(conn, **change)


async def test_the_trail_has_the_settings_before_and_after(conn: asyncpg.Connection) -> None:
    await put_provider(conn)
    await put_provider(conn, p_settings='{"url": "new"}')

    rows = await conn.fetch("SELECT * FROM audit_log WHERE subject_type = 'provider' ORDER BY id")

    assert [(row["event"], row["subject_id"]) for row in rows] == [
        ("provider.created", "gametime"),
        ("provider.modified", "gametime"),
    ]
    assert rows[1]["performed_by_id"] == json.loads(ACTOR)["id"]
    assert json.loads(rows[1]["old_values"])["settings"] == {"url": "http://127.0.0.1:1/"}
    assert json.loads(rows[1]["new_values"])["settings"] == {"url": "new"}


async def test_providers_are_listed_by_name(conn: asyncpg.Connection) -> None:
    assert await call_json(conn, "list_providers") == {"items": []}
    for name in ("b", "c", "a"):
        await put_provider(conn, name)

    assert [item["name"] for item in (await call_json(conn, "list_providers"))["items"]] == ["a", "b", "c"]


async def test_a_provider_that_nobody_put_is_not_found(conn: asyncpg.Connection) -> None:
    with refused("SB022", "provider_not_found") as refusal:
        await call_value(conn, "get_provider", p_name="nowhere")

    assert refusal.detail == {"provider": "nowhere"}


async def test_one_shape_shows_the_queue_as_it_is(conn: asyncpg.Connection) -> None:
    await put_provider(conn)
    await call_value(conn, "put_queue", p_actor=ACTOR, p_queue="provider:gametime", p_max_running=9, p_stagger_ms=7)

    shape = json.loads(await conn.fetchval("SELECT provider_json(p) FROM providers p"))

    assert (shape["max_running"], shape["stagger_ms"]) == (9, 7)
    assert await call_value(conn, "provider_queue", p_provider="gametime") == "provider:gametime"
