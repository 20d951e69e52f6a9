"""The rules that the lifecycle functions share, asked directly: place_booking, hold_until, lock_slot, require_version,
require_movable, require_payment_step, require_place.
"""

from datetime import timedelta
from itertools import product
from uuid import UUID

import asyncpg
import pytest

from tests.conftest import Connect
from tests.factories import HOUR, TOMORROW, Factory, make_customer
from tests.sql.support import NOBODY, TICK, call, call_value, occupancy, one, raw_booking, refused
from tests.sql.test_slot_rules import make_rules

ON_ROW = {
    "require_version": "SELECT require_version(b, $2) FROM bookings b WHERE b.id = $1",
    "require_movable": "SELECT require_movable(b, $2) FROM bookings b WHERE b.id = $1",
    "require_payment_step": "SELECT require_payment_step(b, $2) FROM bookings b WHERE b.id = $1",
    "require_place": "SELECT require_place(b, $2) FROM bookings b WHERE b.id = $1",
}
STATUSES = ("pending", "confirmed", "completed", "cancelled", "failed", "expired", "no_show")
START = TOMORROW + timedelta(days=1)


async def require(conn: asyncpg.Connection, rule: str, booking_id: UUID, about: object) -> None:
    await conn.execute(ON_ROW[rule], booking_id, about)


@pytest.mark.parametrize(("rules", "minutes"), [(None, 15), ({}, 15), ({"hold_minutes": 2}, 2)])
async def test_the_resources_rules_say_when_a_hold_ends(
    make: Factory, conn: asyncpg.Connection, rules: dict[str, int] | None, minutes: int
) -> None:
    resource_id = await make.resource()
    if rules is not None:
        await make_rules(conn, resource_id, **rules)

    ends = await call_value(conn, "hold_until", p_resource_id=resource_id, p_now=TOMORROW)

    assert ends == TOMORROW + timedelta(minutes=minutes)


@pytest.mark.parametrize("method", ["pay_on_arrival", "pay_now"])
@pytest.mark.parametrize(("expires_at", "status"), [(None, "confirmed"), (TOMORROW + HOUR, "pending")])
async def test_a_booking_is_placed_as_a_hold_only_where_it_is_given_an_end(
    make: Factory, conn: asyncpg.Connection, method: str, status: str, expires_at: object
) -> None:
    slot_id, customer_id = await make.slot(starts_at=START), await make_customer(conn)

    row = await one(
        conn,
        """SELECT b.status, b.expires_at, b.payment_method, b.placed_at, b.units, b.metadata ->> 'seat', b.slot_id
        FROM slots s, place_booking(s, $1, 3, $2, '{"seat": "4"}', $3, $4) b""",
        customer_id,
        method,
        expires_at,
        TOMORROW,
    )

    assert row == (status, expires_at, method, TOMORROW, 3, "4", slot_id)
    assert await one(conn, "SELECT starts_at, ends_at FROM bookings") == (START, START + HOUR)


async def test_a_locked_slot_is_nobody_elses(make: Factory, conn: asyncpg.Connection, connect: Connect) -> None:
    slot_id = await make.slot()
    holder = await connect()

    async with holder.transaction():
        (row,) = await call(holder, "lock_slot", p_slot_id=slot_id)
        assert row["id"] == slot_id
        with pytest.raises(asyncpg.LockNotAvailableError):
            await conn.execute("SELECT FROM slots FOR NO KEY UPDATE NOWAIT")
        await conn.execute("SELECT FROM slots FOR KEY SHARE NOWAIT")


async def test_an_unknown_slot_is_not_found(conn: asyncpg.Connection) -> None:
    with refused("SB001", "slot_not_found"):
        await call(conn, "lock_slot", p_slot_id=NOBODY)


async def test_only_the_current_version_will_do(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await make.booking()
    await conn.execute("UPDATE bookings SET metadata = '{\"seat\": 4}'")

    await require(conn, "require_version", booking_id, 2)
    for version in (1, 3):
        with refused("SB006", "version_conflict") as refusal:
            await require(conn, "require_version", booking_id, version)
        assert refusal.detail == {"booking_id": str(booking_id), "current_version": 2}


async def test_only_a_booking_that_is_still_to_come_moves(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(max_bookings=9)

    for status in STATUSES:
        booking_id = await raw_booking(conn, slot_id, status=status, expires_at=TOMORROW)
        if status in {"pending", "confirmed"}:
            await require(conn, "require_movable", booking_id, TOMORROW - TICK)
        else:
            with refused("SB007", "invalid_transition") as refusal:
                await require(conn, "require_movable", booking_id, TOMORROW - TICK)
            assert refusal.detail["to"] == "rescheduled"


async def test_a_hold_moves_until_it_has_lapsed(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await raw_booking(conn, await make.slot(), status="pending", expires_at=TOMORROW)

    await require(conn, "require_movable", booking_id, TOMORROW - TICK)
    with refused("SB013", "hold_expired"):
        await require(conn, "require_movable", booking_id, TOMORROW)


async def test_what_a_confirmed_booking_once_was_does_not_hold_it_back(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await raw_booking(conn, await make.slot(), status="pending", expires_at=TOMORROW)
    await conn.execute("UPDATE bookings SET status = 'confirmed'")

    await require(conn, "require_movable", booking_id, TOMORROW + HOUR)


def may_be_paid(method: str, payment: str, status: str, to: str) -> bool:
    """The payment steps, said once more and otherwise."""
    match payment, to:
        case "pending", "paid":
            return status not in {"cancelled", "failed"}
        case "pending", "failed":
            return status == "pending" and method == "pay_now"
        case "paid", "refunded":
            return method == "pay_now"
    return False


async def test_a_payment_takes_these_steps_and_no_others(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(max_bookings=100)
    payments = [("pay_on_arrival", p) for p in ("pending", "paid")] + [
        ("pay_now", p) for p in ("pending", "paid", "failed", "refunded")
    ]

    for (method, payment), status in product(payments, STATUSES):
        booking_id = await raw_booking(
            conn, slot_id, status=status, expires_at=TOMORROW, payment_method=method, payment_status=payment
        )
        for to in ("pending", "paid", "failed", "refunded"):
            if may_be_paid(method, payment, status, to):
                await require(conn, "require_payment_step", booking_id, to)
            else:
                with refused("SB007", "invalid_transition") as refusal:
                    await require(conn, "require_payment_step", booking_id, to)
                assert (refusal.detail["from"], refusal.detail["to"]) == (payment, to)


async def test_a_booking_that_holds_its_place_needs_no_other(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(starts_at=START, max_bookings=1)
    booking_id = await make.booking(slot_id)

    await require(conn, "require_place", booking_id, START + HOUR)

    assert await occupancy(conn, slot_id) == (1, 1)


async def test_an_expired_hold_may_take_its_place_again_while_nobody_has(
    make: Factory, conn: asyncpg.Connection
) -> None:
    slot_id = await make.slot(starts_at=START, max_bookings=1)
    booking_id = await raw_booking(conn, slot_id, status="expired", expires_at=TOMORROW)
    await require(conn, "require_place", booking_id, TOMORROW + HOUR)

    await make.booking(slot_id)

    with refused("SB013", "hold_expired") as refusal:
        await require(conn, "require_place", booking_id, TOMORROW + HOUR)
    assert (refusal.detail["reason"], refusal.detail["slot_id"]) == ("slot_full", str(slot_id))


@pytest.mark.parametrize(
    ("change", "units", "now", "reason"),
    [
        ("UPDATE slots SET is_legacy = true", 1, TOMORROW, "slot_closed"),
        ("SELECT 1", 1, START, "slot_in_past"),
        ("UPDATE slots SET max_units = 4", 4, TOMORROW, "insufficient_units"),
    ],
)
async def test_a_lost_place_says_what_stands_in_the_way(
    make: Factory, conn: asyncpg.Connection, change: str, units: int, now: object, reason: str
) -> None:
    slot_id = await make.slot(starts_at=START, max_bookings=9)
    await make.booking(slot_id)
    booking_id = await raw_booking(conn, slot_id, status="expired", expires_at=TOMORROW, units=units)
    await conn.execute(change)

    with refused("SB013", "hold_expired") as refusal:
        await require(conn, "require_place", booking_id, now)

    assert refusal.detail["reason"] == reason


@pytest.mark.parametrize(
    ("rule", "now"),
    [({"min_notice_minutes": 60}, START - TICK), ({"booking_window_days": 0}, TOMORROW - HOUR)],
    ids=["inside the notice", "before the window"],
)
async def test_who_had_the_place_once_is_bound_by_neither_notice_nor_window(
    make: Factory, conn: asyncpg.Connection, rule: dict[str, int], now: object
) -> None:
    resource_id = await make.resource()
    await make_rules(conn, resource_id, **rule)
    slot_id = await make.slot(resource_id, starts_at=START)
    booking_id = await raw_booking(conn, slot_id, status="expired", expires_at=TOMORROW)
    assert await conn.fetchval("SELECT NOT o.available FROM slot_offers(NULL, NULL, NULL, $1, 1, $2) o", [slot_id], now)

    await require(conn, "require_place", booking_id, now)
