"""Two changes that meet at one slot or one schedule: each order has its one outcome, and nothing is lost."""

import json
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.concurrency.rivals import assert_counters_equal_a_recount, connections, held_slots, until_waiting
from tests.concurrency.turns import DONE, held_rules, in_turn, told
from tests.conftest import Connect
from tests.factories import ACTOR, HOUR, SYSTEM, Factory, change_booking, create_booking
from tests.sql.schedules import counts, put_exception, put_schedule
from tests.sql.support import at, call_json, call_row, call_value, occupancy, one, status_of

NOW = at("2030-06-03T00:00")
TEN = NOW + 10 * HOUR
SHORTER = [{"weekday": day, "opens": "09:00", "closes": "10:00"} for day in range(1, 8)]
BEN = '{"ref": "ben"}'


class Scene:
    """A resource with a schedule of three slots a day, for two days, and connections to race with."""

    def __init__(self, conn: asyncpg.Connection, rivals: list[asyncpg.Connection], resource_id: UUID) -> None:
        self.conn = conn
        self.first, self.second, self.observer = rivals
        self.resource_id = resource_id

    def rules(self, conn: asyncpg.Connection, **rules: Any) -> Any:
        given: dict[str, Any] = {"p_now": NOW, "horizon_days": 1} | rules
        return put_schedule(conn, self.resource_id, **given)

    def book(self, conn: asyncpg.Connection, slot_id: UUID, **overrides: Any) -> Any:
        return create_booking(conn, slot_id, **{"p_now": NOW} | overrides)

    def move_to_zone(self, conn: asyncpg.Connection, timezone: str) -> Any:
        return call_row(
            conn,
            "update_resource",
            p_actor=ACTOR,
            p_resource_id=self.resource_id,
            p_version=1,
            p_timezone=timezone,
            p_now=NOW,
        )

    async def slot(self, starts_at: Any = TEN) -> UUID:
        query = "SELECT id FROM slots WHERE resource_id = $1 AND starts_at = $2"
        return UUID(str(await self.conn.fetchval(query, self.resource_id, starts_at)))

    async def assert_sound(self, open_slots: int | None = None, now: Any = NOW) -> None:
        """The books balance, and the slots are already what the rules ask for."""
        report = await call_json(self.conn, "check_invariants")
        assert report["violations"] == []
        refresh = await call_json(
            self.conn, "refresh_future_schedule", p_actor=ACTOR, p_resource_id=self.resource_id, p_now=now
        )
        assert counts(refresh).keys() <= {"kept", "blocked"}
        assert open_slots is None or counts(refresh)["kept"] == open_slots
        await assert_counters_equal_a_recount(self.conn)


@pytest.fixture
async def scene(make: Factory, conn: asyncpg.Connection, connect: Connect) -> Scene:
    made = Scene(conn, await connections(connect, 3), await make.resource())
    await made.rules(conn)
    return made


def in_order(first: Any, second: Any, is_turned: bool) -> list[Any]:
    return [second, first] if is_turned else [first, second]


async def test_of_twelve_moves_into_the_last_place_one_wins(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    last, crowd = await make.slot(max_bookings=1), await make.slot(max_bookings=12)
    booked = [await make.booking(crowd) for _ in range(12)]
    rivals, observer = await connections(connect, 12), await connect()

    async with held_slots(conn, last):
        tasks = [
            *await in_turn(
                observer,
                *(
                    change_booking(rival, "reschedule_booking", booking_id, 1, p_slot_id=last)
                    for rival, booking_id in zip(rivals, booked, strict=True)
                ),
            )
        ]

    assert sorted(await told(tasks)) == ["SB002 slot_full"] * 11 + [DONE]
    assert [(await occupancy(conn, slot_id))[0] for slot_id in (last, crowd)] == [1, 11]


async def test_moves_that_cross_both_arrive(make: Factory, conn: asyncpg.Connection, connect: Connect) -> None:
    slots = [await make.slot(max_bookings=2) for _ in range(2)]
    booked = [await make.booking(slot_id) for slot_id in slots]
    *rivals, observer = await connections(connect, 3)

    async with held_slots(conn, *slots):
        tasks = await in_turn(
            observer,
            *(
                change_booking(rival, "reschedule_booking", booking_id, 1, p_slot_id=slot_id)
                for rival, booking_id, slot_id in zip(rivals, booked, reversed(slots), strict=True)
            ),
        )

    assert await told(tasks) == [DONE, DONE]
    await assert_counters_equal_a_recount(conn)


PAY = {"p_payment_status": "paid"}


async def test_a_sweep_passes_by_a_hold_that_is_being_paid(scene: Scene) -> None:
    hold = (await scene.book(scene.conn, await scene.slot(), p_payment_method="pay_now"))["booking_id"]

    async with scene.first.transaction():
        await change_booking(scene.first, "record_payment", hold, 1, p_now=NOW + HOUR, **PAY)
        swept = await scene.second.fetchval("SELECT expire_due_bookings($1, 10, $2)", SYSTEM, NOW + HOUR)

    assert swept == 0
    assert await status_of(scene.conn, hold) == "confirmed"
    await scene.assert_sound()


@pytest.mark.parametrize(("version", "answer"), [(1, "SB006 version_conflict"), (2, DONE)])
async def test_money_that_comes_during_the_sweep_meets_an_expired_hold(scene: Scene, version: int, answer: str) -> None:
    hold = (await scene.book(scene.conn, await scene.slot(), p_payment_method="pay_now"))["booking_id"]

    async with scene.first.transaction():
        assert await scene.first.fetchval("SELECT expire_due_bookings($1, 10, $2)", SYSTEM, NOW + HOUR) == 1
        paying = await in_turn(
            scene.observer, change_booking(scene.second, "record_payment", hold, version, p_now=NOW + HOUR, **PAY)
        )

    assert await told(paying) == [answer]
    # nobody took the place meanwhile, so money that knows of the expiry still confirms
    assert await status_of(scene.conn, hold) == ("confirmed" if answer == DONE else "expired")
    await scene.assert_sound()


async def test_a_booking_ahead_of_a_shorter_schedule_keeps_its_slot_as_a_legacy_one(scene: Scene) -> None:
    slot_id = await scene.slot()

    async with held_slots(scene.conn, slot_id):
        tasks = await in_turn(
            scene.observer, scene.book(scene.first, slot_id), scene.rules(scene.second, weekly=SHORTER)
        )

    assert await told(tasks) == [DONE, DONE]
    assert await one(scene.conn, "SELECT is_legacy, booked_bookings FROM slots WHERE id = $1", slot_id) == (True, 1)
    await scene.assert_sound(open_slots=2)


@pytest.mark.parametrize("has_history", [False, True])
async def test_a_booking_behind_a_shorter_schedule_finds_its_slot_gone_or_closed(
    scene: Scene, has_history: bool
) -> None:
    slot_id = await scene.slot()
    if has_history:
        booked = await scene.book(scene.conn, slot_id)
        await change_booking(scene.conn, "cancel_booking", booked["booking_id"], 1, p_now=NOW)

    async with held_slots(scene.conn, slot_id):
        tasks = await in_turn(
            scene.observer, scene.rules(scene.first, weekly=SHORTER), scene.book(scene.second, slot_id)
        )

    assert await told(tasks) == [DONE, "SB003 slot_closed" if has_history else "SB001 slot_not_found"]
    await scene.assert_sound(open_slots=2)


async def test_a_move_behind_a_shorter_schedule_stays_where_it_was(scene: Scene) -> None:
    slot_id, nine = await scene.slot(), await scene.slot(NOW + 9 * HOUR)
    booked = (await scene.book(scene.conn, nine))["booking_id"]

    async with held_slots(scene.conn, slot_id):
        tasks = await in_turn(
            scene.observer,
            scene.rules(scene.first, weekly=SHORTER),
            change_booking(scene.second, "reschedule_booking", booked, 1, p_slot_id=slot_id, p_now=NOW),
        )

    assert await told(tasks) == [DONE, "SB001 slot_not_found"]
    assert await one(scene.conn, "SELECT slot_id, version FROM bookings") == (nine, 1)
    await scene.assert_sound(open_slots=2)


@pytest.mark.parametrize("is_turned", [False, True])
async def test_the_last_place_is_booked_or_taken_back_but_not_both(scene: Scene, is_turned: bool) -> None:
    slot_id = await scene.slot()
    await scene.book(scene.conn, slot_id)

    async with held_slots(scene.conn, slot_id):
        tasks = await in_turn(
            scene.observer,
            *in_order(
                scene.book(scene.first, slot_id, p_customer=BEN), scene.rules(scene.second, max_bookings=1), is_turned
            ),
        )

    assert await told(tasks) == ([DONE, "SB002 slot_full"] if is_turned else [DONE, DONE])
    places = await one(scene.conn, "SELECT max_bookings, booked_bookings FROM slots WHERE id = $1", slot_id)
    assert places == ((1, 1) if is_turned else (2, 2))
    await scene.assert_sound(open_slots=6)


@pytest.mark.parametrize("is_turned", [False, True])
async def test_of_two_schedules_at_once_the_later_one_stands(scene: Scene, is_turned: bool) -> None:
    async with held_rules(scene.conn, scene.resource_id):
        tasks = await in_turn(
            scene.observer,
            *in_order(scene.rules(scene.first, slot_minutes=45), scene.rules(scene.second, slot_minutes=30), is_turned),
        )

    assert await told(tasks) == [DONE, DONE]
    stored = await one(scene.conn, "SELECT slot_minutes, version FROM schedules")
    assert stored == ((45, 3) if is_turned else (30, 3))
    await scene.assert_sound(open_slots=8 if is_turned else 12)


@pytest.mark.parametrize("is_turned", [False, True])
async def test_two_first_schedules_of_a_resource_at_once_are_a_first_and_a_second(
    make: Factory, scene: Scene, is_turned: bool
) -> None:
    scene.resource_id = await make.resource("Court")
    async with held_rules(scene.conn, scene.resource_id):
        tasks = await in_turn(
            scene.observer,
            *in_order(scene.rules(scene.first, slot_minutes=45), scene.rules(scene.second, slot_minutes=30), is_turned),
        )

    assert await told(tasks) == [DONE, DONE]
    query = "SELECT slot_minutes, version FROM schedules WHERE resource_id = $1"
    assert await one(scene.conn, query, scene.resource_id) == ((45, 2) if is_turned else (30, 2))
    await scene.assert_sound(open_slots=8 if is_turned else 12)


async def test_two_first_schedules_that_meet_in_the_middle_both_succeed(make: Factory, scene: Scene) -> None:
    scene.resource_id = await make.resource("Court")
    async with scene.first.transaction():
        await scene.rules(scene.first, slot_minutes=45)
        tasks = await in_turn(scene.observer, scene.rules(scene.second, slot_minutes=30))

    assert await told(tasks) == [DONE]
    await scene.assert_sound(open_slots=12)


async def refresh_due(conn: asyncpg.Connection, now: Any) -> int:
    return int(await call_value(conn, "refresh_due_schedules", p_actor=SYSTEM, p_limit=1, p_now=now))


async def test_the_daily_refresh_passes_by_a_schedule_that_is_being_changed(scene: Scene) -> None:
    tomorrow = NOW + timedelta(days=1)
    async with scene.first.transaction():
        await scene.rules(scene.first, slot_minutes=45, p_now=tomorrow)
        assert await refresh_due(scene.second, tomorrow) == 0

    assert await refresh_due(scene.second, tomorrow) == 0
    await scene.assert_sound(8, tomorrow)


async def test_a_schedule_that_is_changed_during_the_daily_refresh_waits_for_it(scene: Scene) -> None:
    tomorrow = NOW + timedelta(days=1)
    async with scene.first.transaction():
        assert await refresh_due(scene.first, tomorrow) == 1
        tasks = await in_turn(scene.observer, scene.rules(scene.second, slot_minutes=45, p_now=tomorrow))

    assert await told(tasks) == [DONE]
    pending = "SELECT run_at FROM jobs WHERE status = 'pending' AND job_type = 'refresh_schedule'"
    assert await one(scene.conn, pending) == (tomorrow + timedelta(days=1),)
    await scene.assert_sound(8, tomorrow)


@pytest.mark.parametrize("is_turned", [False, True])
async def test_a_schedule_and_a_time_zone_that_change_at_once_both_count(scene: Scene, is_turned: bool) -> None:
    async with held_rules(scene.conn, scene.resource_id):
        tasks = await in_turn(
            scene.observer,
            *in_order(
                scene.rules(scene.first, slot_minutes=45), scene.move_to_zone(scene.second, "Asia/Tokyo"), is_turned
            ),
        )

    assert await told(tasks) == [DONE, DONE]
    # it is nine in Tokyo, and what begins now is too late
    assert await scene.conn.fetchval("SELECT min(starts_at) FROM slots") == NOW + timedelta(minutes=45)
    await scene.assert_sound(open_slots=7)


@pytest.mark.parametrize("is_turned", [False, True])
async def test_a_first_schedule_and_a_time_zone_that_change_at_once_both_count(
    make: Factory, scene: Scene, is_turned: bool
) -> None:
    scene.resource_id = await make.resource("Court")
    rivals = in_order(
        scene.rules(scene.first, slot_minutes=45), scene.move_to_zone(scene.second, "Asia/Tokyo"), is_turned
    )
    async with held_rules(scene.conn, scene.resource_id):
        tasks = await in_turn(scene.observer, *rivals)

    assert await told(tasks) == [DONE, DONE]
    await scene.assert_sound(open_slots=7)


@pytest.mark.parametrize("is_turned", [False, True])
async def test_a_schedule_and_an_exception_that_change_at_once_both_count(scene: Scene, is_turned: bool) -> None:
    async with held_rules(scene.conn, scene.resource_id):
        tasks = await in_turn(
            scene.observer,
            *in_order(
                scene.rules(scene.first, slot_minutes=45),
                put_exception(scene.second, scene.resource_id, date(2030, 6, 4), [], p_now=NOW),
                is_turned,
            ),
        )

    assert await told(tasks) == [DONE, DONE]
    await scene.assert_sound(open_slots=4)


def batch(conn: asyncpg.Connection, *slot_ids: UUID, **overrides: Any) -> Any:
    items = [{"slot_id": str(slot_id), "units": 1, "metadata": {}} for slot_id in slot_ids]
    given = {"p_actor": ACTOR, "p_items": json.dumps(items), "p_customer": '{"ref": "ann"}', "p_now": NOW}
    return call_row(conn, "create_bookings_safe", **given | overrides)


@pytest.mark.parametrize("is_turned", [False, True])
async def test_a_batch_and_a_newcomer_at_the_last_place_have_one_winner(scene: Scene, is_turned: bool) -> None:
    free, last = await scene.slot(), await scene.slot(TEN + HOUR)
    await scene.book(scene.conn, last)

    async with held_slots(scene.conn, free, last):
        tasks = await in_turn(
            scene.observer,
            *in_order(batch(scene.first, free, last), scene.book(scene.second, last, p_customer=BEN), is_turned),
        )
    answers = await told(tasks)

    assert sorted(answers) == ["SB002 slot_full", DONE]
    batch_won = answers[is_turned] == DONE
    assert (await occupancy(scene.conn, free))[0] == batch_won
    await scene.assert_sound()


async def test_batches_that_name_their_slots_in_opposite_order_have_one_winner(scene: Scene) -> None:
    slots = [await scene.slot(), await scene.slot(TEN + HOUR)]
    await batch(scene.conn, *slots)

    async with held_slots(scene.conn, *slots):
        tasks = await in_turn(
            scene.observer, batch(scene.first, *slots), batch(scene.second, *reversed(slots), p_customer=BEN)
        )

    assert await told(tasks) == [DONE, "SB002 slot_full"]
    await scene.assert_sound()


@pytest.mark.parametrize("is_turned", [False, True])
async def test_a_move_and_a_cancel_of_one_version_have_one_winner(scene: Scene, is_turned: bool) -> None:
    old, new = await scene.slot(), await scene.slot(TEN + HOUR)
    booked = (await scene.book(scene.conn, old))["booking_id"]

    async with held_slots(scene.conn, old, new):
        tasks = await in_turn(
            scene.observer,
            *in_order(
                change_booking(scene.first, "reschedule_booking", booked, 1, p_slot_id=new, p_now=NOW),
                change_booking(scene.second, "cancel_booking", booked, 1, p_now=NOW),
                is_turned,
            ),
        )
    answers = await told(tasks)

    assert sorted(answers) == ["SB006 version_conflict", DONE]
    moved = answers[is_turned] == DONE
    assert await one(scene.conn, "SELECT slot_id, status, version FROM bookings") == (
        (new, "confirmed", 2) if moved else (old, "cancelled", 2)
    )
    await scene.assert_sound()


async def test_a_place_that_is_cancelled_goes_to_the_move_that_waits_behind(scene: Scene) -> None:
    await scene.rules(scene.conn, max_bookings=1)
    old, new = await scene.slot(), await scene.slot(TEN + HOUR)
    moving = (await scene.book(scene.conn, old))["booking_id"]
    leaving = (await scene.book(scene.conn, new))["booking_id"]

    async with scene.first.transaction():
        await change_booking(scene.first, "cancel_booking", leaving, 1, p_now=NOW)
        tasks = await in_turn(
            scene.observer,
            change_booking(scene.second, "reschedule_booking", moving, 1, p_slot_id=new, p_now=NOW),
        )
        await until_waiting(scene.observer, 1)

    assert await told(tasks) == [DONE]
    assert [(await occupancy(scene.conn, slot_id))[0] for slot_id in (old, new)] == [0, 1]
    await scene.assert_sound()
