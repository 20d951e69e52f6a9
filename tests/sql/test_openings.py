"""run_openings: who made a prebooking first goes first, or whom the lot draws; newcomers wait for their turn."""

import hashlib
import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.factories import ACTOR, SYSTEM, Factory, create_booking
from tests.sql.prebookings import (
    AT_TEN,
    ELEVEN,
    OPENS,
    RULES,
    TEN,
    give_up,
    make_pitch,
    prebook,
    read,
    read_all,
    run,
    run_all,
    slot_of,
)
from tests.sql.schedules import put_schedule
from tests.sql.support import TICK, at, call_json, call_row, call_value, occupancy, one, refused

MINUTE = timedelta(minutes=1)


@pytest.fixture
async def pitch(conn: asyncpg.Connection) -> UUID:
    return await make_pitch(conn)


async def outcome(conn: asyncpg.Connection, prebooking: dict[str, Any]) -> tuple[str, str | None, list[str]]:
    """Its status, the wall-clock time it got, and what came of each choice that was tried."""
    ended = await read(conn, prebooking)
    got = (ended["booked_target"] or {}).get("starts_at_local")
    return ended["status"], got, [attempt["finding"] for attempt in ended["attempts"]]


async def line(conn: asyncpg.Connection, slot_id: UUID) -> list[tuple[str, str]]:
    """Who stands in the slot's line, and how."""
    rows = await conn.fetch(
        """SELECT c.ref, w.status FROM waitlist_entries w JOIN customers c ON c.id = w.customer_id
        WHERE w.slot_id = $1 ORDER BY w.place_in_line""",
        slot_id,
    )
    return [tuple(row) for row in rows]


# In order


async def test_who_came_first_gets_the_place_and_the_rest_fall_through(conn: asyncpg.Connection, pitch: UUID) -> None:
    made = [await prebook(conn, pitch, f"c{n}", TEN, ELEVEN) for n in range(5)]

    assert await run(conn, pitch) == (4, 1, 0)

    assert [await outcome(conn, each) for each in made] == [
        *[("succeeded", TEN, ["booked"])] * 2,
        *[("succeeded", ELEVEN, ["slot_full", "booked"])] * 2,
        ("failed", None, ["slot_full", "slot_full"]),
    ]
    ended = await read_all(conn, made)
    assert [each["reason"] for each in ended] == [None] * 4 + ["slot_full"]
    assert [(each["fired_at"], each["lateness_ms"]) for each in ended] == [(OPENS.isoformat(), 0)] * 5


async def test_the_order_is_that_of_creation_whatever_the_ids(conn: asyncpg.Connection) -> None:
    pitch = await make_pitch(conn, max_bookings=5)
    made = [await prebook(conn, pitch, f"c{n:02}") for n in range(20)]

    assert await run(conn, pitch, limit=7) == (5, 2, 13)
    assert await run(conn, pitch, limit=7) == (0, 7, 6)
    assert await run(conn, pitch, limit=7) == (0, 6, 0)

    assert [each["status"] for each in await read_all(conn, made)] == ["succeeded"] * 5 + ["failed"] * 15


async def test_what_opened_before_goes_before(conn: asyncpg.Connection) -> None:
    pitch = await make_pitch(conn, max_bookings=1)
    # the first choice of each opens on another day, and both would take the same slot
    tuesday, monday = "2030-06-11T10:00", TEN
    later = await prebook(conn, pitch, "ann", tuesday, monday)
    earlier = await prebook(conn, pitch, "ben", monday)

    assert await run_all(conn, pitch, OPENS + timedelta(days=1)) == (2, 0)

    assert [await outcome(conn, each) for each in (earlier, later)] == [
        ("succeeded", monday, ["booked"]),
        ("succeeded", tuesday, ["booked"]),
    ]


async def test_before_its_opening_nothing_is_run(conn: asyncpg.Connection, pitch: UUID) -> None:
    made = await prebook(conn, pitch, "ann")

    assert await run(conn, pitch, now=OPENS - TICK) == (0, 0, 0)

    assert (await read(conn, made))["status"] == "pending"


async def test_how_late_it_was_is_on_record(conn: asyncpg.Connection, pitch: UUID) -> None:
    made = await prebook(conn, pitch, "ann")

    await run(conn, pitch, now=OPENS + timedelta(milliseconds=250))

    assert (await read(conn, made))["lateness_ms"] == 250


async def test_a_preference_that_opens_later_is_not_to_be_had_yet(conn: asyncpg.Connection) -> None:
    pitch = await make_pitch(conn, max_bookings=1)
    await prebook(conn, pitch, "ann")
    made = await prebook(conn, pitch, "ben", TEN, "2030-06-11T10:00")

    assert await run(conn, pitch) == (1, 1, 0)

    assert await outcome(conn, made) == ("failed", None, ["slot_full", "not_open_yet"])


# Why a choice is not to be had


async def test_units_count(conn: asyncpg.Connection) -> None:
    pitch = await make_pitch(conn, max_bookings=9, max_units=4)
    made = [await prebook(conn, pitch, ref, p_units=units) for ref, units in (("ann", 3), ("ben", 2), ("cleo", 1))]

    assert await run(conn, pitch) == (2, 1, 0)

    assert [(await outcome(conn, each))[2] for each in made] == [
        ["booked"],
        ["insufficient_units"],
        ["booked"],
    ]
    assert await occupancy(conn, await slot_of(conn, pitch)) == (2, 4)


async def test_one_that_is_to_be_paid_now_gets_a_hold(conn: asyncpg.Connection, pitch: UUID) -> None:
    made = await prebook(conn, pitch, "ann", p_payment_method="pay_now")

    await run(conn, pitch)

    booking = await one(conn, "SELECT id::text, status, payment_method, expires_at FROM bookings")
    assert booking == ((await read(conn, made))["booking_id"], "pending", "pay_now", OPENS + 15 * MINUTE)


async def test_a_customer_has_no_more_bookings_than_the_rules_allow(conn: asyncpg.Connection) -> None:
    pitch = await make_pitch(conn, max_bookings_per_customer=1)
    first, second = [await prebook(conn, pitch, "ann", time) for time in (TEN, ELEVEN)]

    assert await run(conn, pitch) == (1, 1, 0)

    assert [(await outcome(conn, each))[2] for each in (first, second)] == [["booked"], ["limit_reached"]]
    assert (await read(conn, second))["reason"] == "limit_reached"


async def test_a_closed_slot_is_passed_over(conn: asyncpg.Connection, pitch: UUID) -> None:
    made = await prebook(conn, pitch, "ann", TEN, ELEVEN)
    await conn.execute("UPDATE slots SET is_legacy = true WHERE id = $1", await slot_of(conn, pitch))

    await run(conn, pitch)

    assert await outcome(conn, made) == ("succeeded", ELEVEN, ["slot_closed", "booked"])


async def test_a_slot_that_there_is_not_is_passed_over(conn: asyncpg.Connection, pitch: UUID) -> None:
    made = await prebook(conn, pitch, "ann", "2030-06-10T10:30", "2030-06-10T05:00")

    assert await run(conn, pitch) == (0, 1, 0)

    assert await outcome(conn, made) == ("failed", None, ["slot_not_found", "slot_not_found"])
    assert (await read(conn, made))["reason"] == "slot_not_found"


async def test_what_is_run_too_late_has_failed_for_a_reason(conn: asyncpg.Connection) -> None:
    pitch = await make_pitch(conn, min_notice_minutes=60)
    past, noticed = [await prebook(conn, pitch, ref, time) for ref, time in (("ann", TEN), ("ben", ELEVEN))]

    assert await run_all(conn, pitch, AT_TEN + 30 * MINUTE) == (0, 2)

    assert [(await read(conn, each))["reason"] for each in (past, noticed)] == ["slot_in_past", "too_late"]


async def test_who_gets_nothing_leaves_nothing_behind(conn: asyncpg.Connection) -> None:
    pitch = await make_pitch(conn, max_bookings=1)
    await create_booking(conn, await slot_of(conn, pitch), p_now=OPENS)
    made = await prebook(conn, pitch, "ann", p_now=OPENS)
    before = await conn.fetchval("SELECT count(*) FROM jobs WHERE booking_id IS NOT NULL")

    assert await run(conn, pitch) == (0, 1, 0)

    assert await conn.fetchval("SELECT count(*) FROM bookings") == 1
    assert await conn.fetchval("SELECT count(*) FROM jobs WHERE booking_id IS NOT NULL") == before
    assert (await outcome(conn, made))[2] == ["slot_full"]


async def test_a_slot_of_the_day_that_opens_is_made_when_it_is_due(conn: asyncpg.Connection) -> None:
    # the horizon ends where the window does, and the day opens as it begins
    pitch = await make_pitch(conn, horizon_days=7, opens_at_local="00:00")
    opens = at("2030-06-04T00:00+03:00")
    target = "2030-06-11T10:00"
    made = await prebook(conn, pitch, "ann", target)
    assert at(made["opens_at"]) == opens
    assert await conn.fetchval("SELECT count(*) FROM slots WHERE starts_at > $1", at("2030-06-11T00:00+03:00")) == 0

    # the new day in one transaction, who prebooked it in the next
    assert await run(conn, pitch, now=opens) == (0, 0, 1)
    assert await run(conn, pitch, now=opens) == (1, 0, 0)

    assert await outcome(conn, made) == ("succeeded", target, ["booked"])


# The waitlist


async def test_who_lost_and_asked_for_it_stands_in_line_in_order(conn: asyncpg.Connection) -> None:
    pitch = await make_pitch(conn, max_bookings=1)
    refs = ["ann", "ben", "cleo", "dora"]
    made = [await prebook(conn, pitch, ref, p_join_waitlist=ref != "cleo") for ref in refs]

    assert await run(conn, pitch) == (1, 3, 0)

    slot_id = await slot_of(conn, pitch)
    assert await line(conn, slot_id) == [("ben", "waiting"), ("dora", "waiting")]
    ended = await read_all(conn, made)
    assert [each["waitlist_entry_id"] is not None for each in ended] == [False, True, False, True]

    # a place that comes free goes to the first of them
    await call_row(
        conn,
        "cancel_booking",
        p_actor=ACTOR,
        p_booking_id=UUID(ended[0]["booking_id"]),
        p_version=1,
        p_now=OPENS + MINUTE,
    )
    assert await line(conn, slot_id) == [("ben", "offered"), ("dora", "waiting")]


async def test_the_line_is_that_of_the_first_choice_that_is_full(conn: asyncpg.Connection) -> None:
    pitch = await make_pitch(conn, max_bookings=1)
    for ref, time in (("ann", TEN), ("ben", ELEVEN)):
        await prebook(conn, pitch, ref, time)
    made = await prebook(conn, pitch, "cleo", "2030-06-10T05:00", ELEVEN, TEN, p_join_waitlist=True)

    await run(conn, pitch)

    assert await outcome(conn, made) == ("failed", None, ["slot_not_found", "slot_full", "slot_full"])
    assert await line(conn, await slot_of(conn, pitch, ELEVEN)) == [("cleo", "waiting")]
    assert await line(conn, await slot_of(conn, pitch, TEN)) == []


async def test_who_got_a_preference_stands_in_no_line(conn: asyncpg.Connection) -> None:
    pitch = await make_pitch(conn, max_bookings=1)
    await prebook(conn, pitch, "ann")
    made = await prebook(conn, pitch, "ben", TEN, ELEVEN, p_join_waitlist=True)

    await run(conn, pitch)

    assert (await read(conn, made))["waitlist_entry_id"] is None
    assert await line(conn, await slot_of(conn, pitch)) == []


async def test_who_stands_in_that_line_already_stays_there(conn: asyncpg.Connection) -> None:
    pitch = await make_pitch(conn, max_bookings=1)
    slot_id = await slot_of(conn, pitch)
    await create_booking(conn, slot_id, p_now=OPENS)
    entry = await call_row(
        conn, "join_waitlist", p_actor=ACTOR, p_slot_id=slot_id, p_customer='{"ref": "ben"}', p_now=OPENS
    )
    made = await prebook(conn, pitch, "ben", p_join_waitlist=True, p_now=OPENS + MINUTE)

    await run(conn, pitch, now=OPENS + MINUTE)

    assert (await read(conn, made))["waitlist_entry_id"] == str(entry["entry_id"])
    assert await line(conn, slot_id) == [("ben", "waiting")]


async def test_there_is_no_line_for_a_slot_that_was_not_full(conn: asyncpg.Connection, pitch: UUID) -> None:
    made = await prebook(conn, pitch, "ann", "2030-06-10T05:00", p_join_waitlist=True)
    await run(conn, pitch)

    assert (await read(conn, made))["waitlist_entry_id"] is None
    row = await conn.fetchval("SELECT wait_in_line(p, $1) FROM prebookings p", OPENS)
    assert row is None


# One choice and one place


async def test_a_place_is_taken_only_if_every_rule_allows_it(conn: asyncpg.Connection, pitch: UUID) -> None:
    await prebook(conn, pitch, "ann")
    slot_id = await slot_of(conn, pitch)
    take = "SELECT b.* FROM slots s, prebookings p, take_place($1, s, p, $2) b WHERE s.id = $3"

    with refused("SB011", "not_open_yet"):
        await conn.execute(take, SYSTEM, OPENS - TICK, slot_id)
    (booking,) = await conn.fetch(take, SYSTEM, OPENS, slot_id)

    assert (booking["slot_id"], booking["status"], booking["created_at"]) == (slot_id, "confirmed", OPENS)


async def test_the_first_choice_that_is_to_be_had_is_had(conn: asyncpg.Connection, pitch: UUID) -> None:
    made = await prebook(conn, pitch, "ann", "2030-06-10T05:00", TEN, ELEVEN)

    status = await call_value(conn, "book_first_choice", p_actor=SYSTEM, p_prebooking_id=UUID(made["id"]), p_now=OPENS)

    assert status == "succeeded"
    assert await outcome(conn, made) == ("succeeded", TEN, ["slot_not_found", "booked"])


# Newcomers


async def newcomer(conn: asyncpg.Connection, slot_id: UUID, now: Any, **overrides: Any) -> None:
    await create_booking(conn, slot_id, p_customer='{"ref": "newcomer"}', p_now=now, **overrides)


async def test_a_newcomer_gets_what_is_left_over(conn: asyncpg.Connection) -> None:
    pitch = await make_pitch(conn, max_bookings=3)
    slot_id = await slot_of(conn, pitch)
    for ref in ("ann", "ben"):
        await prebook(conn, pitch, ref)

    await newcomer(conn, slot_id, OPENS)
    with refused("SB011", "not_open_yet") as refusal:
        await newcomer(conn, slot_id, OPENS)

    assert refusal.detail == {"slot_id": str(slot_id), "opens_at": OPENS.isoformat(), "prebookings_ahead": 2}
    assert await run(conn, pitch) == (2, 0, 0)
    with refused("SB002", "slot_full"):
        await newcomer(conn, slot_id, OPENS)


async def test_availability_counts_what_is_owed_as_free_until_it_is_given(conn: asyncpg.Connection) -> None:
    pitch = await make_pitch(conn, max_bookings=1)
    await prebook(conn, pitch, "ann")

    async def is_free() -> bool:
        asked = {"p_resource_ids": [pitch], "p_from": AT_TEN, "p_to": AT_TEN + MINUTE, "p_now": OPENS}
        return bool(json.loads((await call_row(conn, "available_slots", **asked))["body"])["slots"][0]["available"])

    assert await is_free()
    await run(conn, pitch)
    assert not await is_free()


async def test_units_are_owed_too(conn: asyncpg.Connection) -> None:
    pitch = await make_pitch(conn, max_bookings=9, max_units=5)
    slot_id = await slot_of(conn, pitch)
    await prebook(conn, pitch, "ann", p_units=3)

    with refused("SB011", "not_open_yet"):
        await newcomer(conn, slot_id, OPENS, p_units=3)
    await newcomer(conn, slot_id, OPENS, p_units=2)

    assert await run(conn, pitch) == (1, 0, 0)


async def test_a_place_is_owed_in_every_slot_that_would_do(conn: asyncpg.Connection) -> None:
    pitch = await make_pitch(conn, max_bookings=1)
    made = await prebook(conn, pitch, "ann", TEN, ELEVEN)

    with refused("SB011", "not_open_yet"):
        await newcomer(conn, await slot_of(conn, pitch, ELEVEN), OPENS)
    await run(conn, pitch)

    assert await outcome(conn, made) == ("succeeded", TEN, ["booked"])
    await newcomer(conn, await slot_of(conn, pitch, ELEVEN), OPENS)


async def test_after_ten_minutes_nobody_waits_any_more(conn: asyncpg.Connection) -> None:
    pitch = await make_pitch(conn, max_bookings=1)
    slot_id = await slot_of(conn, pitch)
    made = await prebook(conn, pitch, "ann")

    with refused("SB011", "not_open_yet"):
        await newcomer(conn, slot_id, OPENS + 10 * MINUTE - TICK)
    await newcomer(conn, slot_id, OPENS + 10 * MINUTE)

    assert await run(conn, pitch, now=OPENS + 11 * MINUTE) == (0, 1, 0)
    assert (await read(conn, made))["reason"] == "slot_full"


async def test_an_admin_with_a_reason_does_not_wait(conn: asyncpg.Connection) -> None:
    pitch = await make_pitch(conn, max_bookings=1)
    await prebook(conn, pitch, "ann")
    admin = json.dumps({"type": "admin", "id": "boss", "reason": "the mayor comes"})

    await newcomer(conn, await slot_of(conn, pitch), OPENS, p_actor=admin)


async def test_who_has_given_up_is_owed_nothing(conn: asyncpg.Connection) -> None:
    pitch = await make_pitch(conn, max_bookings=1)
    await give_up(conn, await prebook(conn, pitch, "ann"))

    await newcomer(conn, await slot_of(conn, pitch), OPENS)


async def test_nobody_gets_around_their_turn(conn: asyncpg.Connection) -> None:
    pitch = await make_pitch(conn, max_bookings=1)
    slot_id, elsewhere = await slot_of(conn, pitch), await slot_of(conn, pitch, ELEVEN)
    await prebook(conn, pitch, "ann")
    booking = await create_booking(conn, elsewhere, p_now=OPENS)
    item = {"slot_id": str(slot_id), "units": 1, "metadata": {}}
    customer = {"p_customer": '{"ref": "newcomer"}', "p_now": OPENS, "p_actor": ACTOR}

    # require_turn stands before each of them
    with refused("SB011", "not_open_yet"):
        await call_row(conn, "create_bookings_safe", p_items=json.dumps([item]), **customer)
    with refused("SB011", "not_open_yet"):
        await call_row(conn, "create_recurring_bookings", p_slot_id=slot_id, p_every_days=7, p_count=2, **customer)
    with refused("SB011", "not_open_yet"):
        await call_row(conn, "join_waitlist", p_slot_id=slot_id, **customer)
    with refused("SB011", "not_open_yet"):
        await call_row(
            conn,
            "reschedule_booking",
            p_actor=ACTOR,
            p_booking_id=booking["booking_id"],
            p_version=1,
            p_slot_id=slot_id,
            p_now=OPENS,
        )
    assert await run(conn, pitch) == (1, 0, 0)


async def test_turns_of_another_resource_are_no_concern(conn: asyncpg.Connection, make: Factory) -> None:
    pitch = await make_pitch(conn, max_bookings=1)
    await prebook(conn, pitch, "ann")

    await newcomer(conn, await make.slot(starts_at=AT_TEN), OPENS)


# The lottery


def lot(seed: str, prebooking: dict[str, Any]) -> str:
    """What anybody works out who knows the seed, with nothing of ours."""
    return hashlib.sha256(f"{seed} {prebooking['id']}".encode()).hexdigest()


async def draws(conn: asyncpg.Connection) -> list[asyncpg.Record]:
    return list(await conn.fetch("SELECT * FROM lottery_draws ORDER BY opens_at"))


async def test_the_lot_decides_and_anybody_can_work_it_out(conn: asyncpg.Connection) -> None:
    pitch = await make_pitch(conn, max_bookings=3, opening_policy="lottery")
    made = [await prebook(conn, pitch, f"c{n:02}") for n in range(12)]
    assert (await read(conn, made[0]))["lottery_seed"] is None

    # in two batches, which are one draw
    assert await run(conn, pitch, limit=2) == (2, 0, 10)
    assert await run(conn, pitch) == (1, 9, 0)

    ended = await read_all(conn, made)
    (seed,) = {each["lottery_seed"] for each in ended}
    by_lot = sorted(ended, key=lambda each: lot(seed, each))
    assert [each["status"] for each in by_lot] == ["succeeded"] * 3 + ["failed"] * 9
    assert await call_value(conn, "lot_of", p_seed=seed, p_prebooking_id=UUID(made[0]["id"])) == lot(seed, made[0])
    assert [tuple(draw)[:4] for draw in await draws(conn)] == [(pitch, OPENS, seed, 12)]


async def test_whom_the_lot_passed_over_stands_in_line_in_its_order(conn: asyncpg.Connection) -> None:
    pitch = await make_pitch(conn, max_bookings=1, opening_policy="lottery")
    made = [await prebook(conn, pitch, f"c{n}", p_join_waitlist=True) for n in range(6)]

    await run(conn, pitch)

    (draw,) = await draws(conn)
    by_lot = sorted(made, key=lambda each: lot(draw["seed"], each))
    assert await line(conn, await slot_of(conn, pitch)) == [(each["customer_ref"], "waiting") for each in by_lot[1:]]


async def test_there_is_no_draw_before_the_opening(conn: asyncpg.Connection) -> None:
    pitch = await make_pitch(conn, opening_policy="lottery")
    await prebook(conn, pitch, "ann")

    await call_value(conn, "draw_lots", p_resource_id=pitch, p_now=OPENS - TICK)
    assert await draws(conn) == []
    await call_value(conn, "draw_lots", p_resource_id=pitch, p_now=OPENS)
    first = await draws(conn)
    await call_value(conn, "draw_lots", p_resource_id=pitch, p_now=OPENS + MINUTE)

    assert len(first) == 1
    assert await draws(conn) == first


async def test_a_draw_stays_as_it_was_made(conn: asyncpg.Connection) -> None:
    pitch = await make_pitch(conn, opening_policy="lottery")
    await prebook(conn, pitch, "ann")
    await run(conn, pitch)

    for statement in ("UPDATE lottery_draws SET seed = '7'", "DELETE FROM lottery_draws", "TRUNCATE lottery_draws"):
        with refused("SB012", "change_refused"):
            await conn.execute(statement)


async def test_who_comes_after_the_opening_is_not_in_the_draw(conn: asyncpg.Connection) -> None:
    pitch = await make_pitch(conn, max_bookings=6, opening_policy="lottery")
    made = [await prebook(conn, pitch, f"c{n}") for n in range(4)]
    on_time = await prebook(conn, pitch, "dora", p_now=OPENS)
    late = [await prebook(conn, pitch, f"d{n}", p_now=OPENS + MINUTE) for n in range(4)]

    assert await run(conn, pitch, now=OPENS + 2 * MINUTE) == (6, 3, 0)

    (draw,) = await draws(conn)
    assert draw["entries"] == 4
    ended = await read_all(conn, [*made, on_time, *late])
    assert [each["status"] for each in ended] == ["succeeded"] * 6 + ["failed"] * 3
    assert [each["lottery_seed"] for each in ended] == [draw["seed"]] * 4 + [None] * 5


async def test_different_openings_are_different_draws(conn: asyncpg.Connection) -> None:
    pitch = await make_pitch(conn, opening_policy="lottery")
    for time in (TEN, "2030-06-11T10:00"):
        await prebook(conn, pitch, "ann", time)

    assert await run_all(conn, pitch, OPENS + timedelta(days=1)) == (2, 0)

    first, second = await draws(conn)
    assert (first["opens_at"], second["opens_at"]) == (OPENS, OPENS + timedelta(days=1))
    assert first["seed"] != second["seed"]


async def test_in_order_there_is_no_draw(conn: asyncpg.Connection, pitch: UUID) -> None:
    made = await prebook(conn, pitch, "ann")
    await run(conn, pitch)

    assert await draws(conn) == []
    assert (await read(conn, made))["lottery_seed"] is None


async def test_a_draw_that_was_made_holds_though_the_policy_changes(conn: asyncpg.Connection) -> None:
    rules = {"max_bookings": 3}
    pitch = await make_pitch(conn, opening_policy="lottery", **rules)
    made = [await prebook(conn, pitch, f"c{n}") for n in range(8)]
    await run(conn, pitch, limit=1)
    await put_schedule(conn, pitch, p_now=OPENS, **RULES | rules)

    await run(conn, pitch)

    (draw,) = await draws(conn)
    by_lot = sorted(made, key=lambda each: lot(draw["seed"], each))
    assert [each["status"] for each in await read_all(conn, by_lot)] == ["succeeded"] * 3 + ["failed"] * 5


async def test_every_promise_holds_after_openings(conn: asyncpg.Connection, pitch: UUID) -> None:
    for n in range(6):
        await prebook(conn, pitch, f"c{n}", TEN, ELEVEN, p_join_waitlist=True, p_units=1 + n % 2)
    await run(conn, pitch)

    assert (await call_json(conn, "check_invariants"))["violations"] == []
