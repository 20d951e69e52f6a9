"""slot_reason, slot_opens_at, require_open_slot, may_override and own_customer: who may still take a slot, and when."""

import json
from datetime import datetime, time, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.factories import HOUR, Factory, create_booking
from tests.sql.support import TICK, at, call_json, call_value, refused

START = at("2030-06-03T12:00")
DAY = timedelta(days=1)
OPEN = "SELECT require_open_slot($1, s, $2) FROM slots s"

CLERK = {"type": "admin", "id": "clerk"}
OVERRIDING = json.dumps(CLERK | {"reason": "a regular guest"})
NOT_OVERRIDING = {
    "an admin without a reason": json.dumps(CLERK),
    "an admin with an empty reason": json.dumps(CLERK | {"reason": ""}),
    "a frontend with a reason": json.dumps({"type": "customer", "id": "api_key:1", "reason": "please"}),
    "a customer with a reason": json.dumps(
        {"type": "customer", "id": "customer:ann", "customer_ref": "ann", "reason": "please"}
    ),
    "the system with a reason": json.dumps({"type": "system", "id": "cron", "reason": "due"}),
}
bound = pytest.mark.parametrize("actor", NOT_OVERRIDING.values(), ids=NOT_OVERRIDING)


async def make_rules(conn: asyncpg.Connection, resource_id: UUID, **rules: Any) -> None:
    """Rules of a resource whose slots are made by hand: a schedule without opening hours."""
    given = {"weekly": "[]", "slot_minutes": 60, "max_bookings": 1} | rules
    values = ", ".join(f"${n}" for n in range(2, len(given) + 2))
    await conn.execute(
        f"INSERT INTO schedules (resource_id, {', '.join(given)}) VALUES ($1, {values})", resource_id, *given.values()
    )


async def reason(conn: asyncpg.Connection, **overrides: Any) -> str | None:
    arguments = {
        "p_is_legacy": False,
        "p_starts_at": START,
        "p_min_notice_minutes": None,
        "p_opens_at": None,
        "p_now": START - HOUR,
    }
    found: str | None = await call_value(conn, "slot_reason", **(arguments | overrides))
    return found


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({}, None),
        ({"p_is_legacy": True}, "closed"),
        ({"p_now": START - TICK}, None),
        ({"p_now": START}, "past"),
        ({"p_min_notice_minutes": 0, "p_now": START - TICK}, None),
        ({"p_min_notice_minutes": 60}, None),
        ({"p_min_notice_minutes": 60, "p_now": START - HOUR + TICK}, "notice"),
        ({"p_opens_at": START - HOUR}, None),
        ({"p_opens_at": START - HOUR + TICK}, "not_open"),
    ],
)
async def test_each_reason_holds_from_its_instant_on(
    conn: asyncpg.Connection, state: dict[str, Any], expected: str | None
) -> None:
    assert await reason(conn, **state) == expected


async def test_the_more_lasting_of_two_reasons_is_told(conn: asyncpg.Connection) -> None:
    everything: dict[str, dict[str, Any]] = {
        "closed": {"p_is_legacy": True},
        "past": {"p_now": START + HOUR},
        "notice": {"p_min_notice_minutes": 120},
        "not_open": {"p_opens_at": START + DAY},
    }

    while everything:
        state = {name: value for given in everything.values() for name, value in given.items()}
        lasting = next(iter(everything))
        assert await reason(conn, **state) == lasting
        del everything[lasting]


@pytest.mark.parametrize(
    ("starts_at", "timezone", "days", "local", "opens_at"),
    [
        ("2030-06-10T09:00", "UTC", 7, "08:00", "2030-06-03T08:00"),
        ("2030-06-10T09:00", "UTC", 0, "00:00", "2030-06-10T00:00"),
        ("2030-06-10T07:00", "UTC", 0, "08:00", "2030-06-10T08:00"),
        # the clocks went forward in between, then back
        ("2030-04-01T06:30", "Europe/Athens", 7, "08:00", "2030-03-25T08:00+02:00"),
        ("2030-10-29T08:00", "Europe/Athens", 7, "08:00", "2030-10-22T08:00+03:00"),
        # already the next day there
        ("2030-06-10T22:30", "Europe/Athens", 7, "08:00", "2030-06-04T08:00+03:00"),
        ("2030-06-10T01:00", "America/New_York", 1, "08:00", "2030-06-08T08:00-04:00"),
        # a time of day that does not exist on that date, and one that comes twice
        ("2030-04-01T06:30", "Europe/Athens", 1, "03:30", "2030-03-31T04:30+03:00"),
        ("2030-10-28T08:00", "Europe/Athens", 1, "03:30", "2030-10-27T03:30+02:00"),
    ],
)
async def test_booking_opens_days_ahead_at_a_time_of_the_local_day(
    conn: asyncpg.Connection, starts_at: str, timezone: str, days: int, local: str, opens_at: str
) -> None:
    found = await call_value(
        conn,
        "slot_opens_at",
        p_starts_at=at(starts_at),
        p_timezone=timezone,
        p_window_days=days,
        p_opens_at_local=time.fromisoformat(local),
    )

    assert found == at(opens_at)


async def test_without_a_window_booking_has_no_opening(conn: asyncpg.Connection) -> None:
    found = await call_value(
        conn, "slot_opens_at", p_starts_at=START, p_timezone="UTC", p_window_days=None, p_opens_at_local=time(8)
    )

    assert found is None


async def test_an_admin_who_gives_a_reason_may_override(conn: asyncpg.Connection) -> None:
    assert await call_value(conn, "may_override", p_actor=OVERRIDING) is True


@bound
async def test_nobody_else_may_override(conn: asyncpg.Connection, actor: str) -> None:
    assert await call_value(conn, "may_override", p_actor=actor) is False


async def slot_under(make: Factory, conn: asyncpg.Connection, **rules: Any) -> UUID:
    resource_id = await make.resource(timezone="Europe/Athens")
    await make_rules(conn, resource_id, **rules)
    return await make.slot(resource_id, starts_at=START)


@bound
async def test_inside_the_notice_it_is_too_late(make: Factory, conn: asyncpg.Connection, actor: str) -> None:
    slot_id = await slot_under(make, conn, min_notice_minutes=90)
    until = START - timedelta(minutes=90)

    await conn.execute(OPEN, actor, until)
    with refused("SB015", "too_late") as refusal:
        await conn.execute(OPEN, actor, until + TICK)

    facts = {name: refusal.detail.pop(name) for name in ("rule", "slot_id")}
    assert facts == {"rule": "min_notice_minutes", "slot_id": str(slot_id)}
    assert {name: at(value) for name, value in refusal.detail.items()} == {"starts_at": START, "until": until}


@bound
async def test_before_the_window_it_is_not_open_yet(make: Factory, conn: asyncpg.Connection, actor: str) -> None:
    slot_id = await slot_under(make, conn, booking_window_days=1, opens_at_local=time(8))
    opens_at = at("2030-06-02T08:00+03:00")

    with refused("SB011", "not_open_yet") as refusal:
        await conn.execute(OPEN, actor, opens_at - TICK)
    await conn.execute(OPEN, actor, opens_at)

    assert at(refusal.detail.pop("opens_at")) == opens_at
    assert refusal.detail == {"slot_id": str(slot_id)}


@pytest.mark.parametrize(
    ("rules", "now"),
    [({"min_notice_minutes": 90}, START - TICK), ({"booking_window_days": 1}, START - 9 * DAY)],
    ids=["notice", "window"],
)
async def test_an_admin_with_a_reason_passes_over_notice_and_window(
    make: Factory, conn: asyncpg.Connection, rules: dict[str, int], now: datetime
) -> None:
    await slot_under(make, conn, **rules)

    await conn.execute(OPEN, OVERRIDING, now)


@pytest.mark.parametrize(
    ("change", "now", "sqlstate", "slug"),
    [
        ("UPDATE slots SET is_legacy = true", START - HOUR, "SB003", "slot_closed"),
        ("SELECT 1", START, "SB004", "slot_in_past"),
    ],
)
async def test_nobody_passes_over_a_slot_that_is_closed_or_has_begun(
    make: Factory, conn: asyncpg.Connection, change: str, now: datetime, sqlstate: str, slug: str
) -> None:
    await slot_under(make, conn, min_notice_minutes=90)
    await conn.execute(change)

    with refused(sqlstate, slug):
        await conn.execute(OPEN, OVERRIDING, now)


@pytest.mark.parametrize(
    ("actor", "customer", "expected"),
    [
        ({}, {"ref": "bob", "name": "Bob"}, {"ref": "bob", "name": "Bob"}),
        ({"customer_ref": None}, {"name": "Bob"}, {"name": "Bob"}),
        ({"customer_ref": "ann"}, {"ref": "bob", "name": "Bob"}, {"ref": "ann", "name": "Bob"}),
        ({"customer_ref": "ann"}, {}, {"ref": "ann"}),
    ],
)
async def test_a_customers_token_decides_whom_a_booking_is_for(
    conn: asyncpg.Connection, actor: dict[str, Any], customer: dict[str, str], expected: dict[str, str]
) -> None:
    found = await call_json(conn, "own_customer", p_actor=json.dumps(actor), p_customer=json.dumps(customer))

    assert found == expected


TOKEN = json.dumps({"type": "customer", "id": "customer:ann", "customer_ref": "ann"})
OTHERS = json.dumps({"type": "customer", "id": "customer:bob", "customer_ref": "bob"})


async def test_a_token_books_for_its_customer_whatever_the_request_says(
    make: Factory, conn: asyncpg.Connection
) -> None:
    row = await create_booking(conn, await make.slot(), p_actor=TOKEN, p_customer='{"ref": "bob"}')

    assert json.loads(row["body"])["customer_ref"] == "ann"
    assert await conn.fetchval("SELECT array_agg(ref) FROM customers") == ["ann"]


async def test_one_key_of_two_customers_is_two_bookings(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(max_bookings=9)
    same = {"p_customer": "{}", "p_idempotency_key": "k", "p_request_hash": b"h"}

    rows = [await create_booking(conn, slot_id, p_actor=actor, **same) for actor in (TOKEN, OTHERS, TOKEN)]

    assert [row["replayed"] for row in rows] == [False, False, True]
    assert rows[2]["body"] == rows[0]["body"]
    assert [json.loads(row["body"])["customer_ref"] for row in rows] == ["ann", "bob", "ann"]
