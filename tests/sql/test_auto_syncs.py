"""Auto-syncs in the database: what is armed, who is reminded, what pauses and what completes.

The functions of triggers (auto_syncs_ask, auto_syncs_guard_update, auto_syncs_sync_jobs, auto_sync_participants_invite,
auto_sync_participants_count, crew_members_follow) are called here by whoever writes, and with them arm_auto_sync,
lock_due_auto_syncs, auto_sync_goal_is_met, complete_auto_sync, book_auto_sync_time and propose_times. The shorthands
call create_auto_sync, get_auto_sync, record_response, set_auto_sync_status, lock_auto_sync, remind_due_auto_syncs and
pause_due_auto_syncs.
"""

import json
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from tests.factories import ACTOR, Factory
from tests.sql.auto_syncs import (
    DAY,
    MEMBERS,
    PAUSE,
    REMINDER,
    START,
    answer,
    assert_no_violation,
    by_email,
    events,
    jobs_of,
    join,
    make_crew,
    pause,
    pending,
    proposed,
    read,
    remind,
    start,
    started,
    step,
    told,
    two_times,
    with_slots,
)
from tests.sql.support import NOBODY, call, call_json, call_row, call_value, one, refused, violates

HOUR = DAY / 24


async def test_a_new_auto_sync_waits_for_its_reminder_alone(conn: asyncpg.Connection) -> None:
    sync = await started(conn)

    assert sync["status"] == "running"
    assert [p["customer_ref"] for p in sync["participants"]] == list(MEMBERS)
    assert await pending(conn, sync) == [("auto_sync_reminder", REMINDER)]
    assert await conn.fetchval("SELECT auto_sync_job_type(a) FROM auto_syncs a") == "auto_sync_reminder"
    await assert_no_violation(conn)


async def test_a_raw_insert_asks_its_crew_and_arms_its_reminder_too(conn: asyncpg.Connection) -> None:
    crew_id = await make_crew(conn, *MEMBERS)
    insert = """
        INSERT INTO auto_syncs (crew_id, event_name, status, response_goal, timezone, started_at)
        VALUES ($1, 'Test Event', 'running', 'everyone', 'America/Los_Angeles', $2) RETURNING id
    """
    sync_id = await conn.fetchval(insert, crew_id, START)

    assert await pending(conn, {"id": sync_id}) == [("auto_sync_reminder", REMINDER)]
    assert len((await read(conn, {"id": sync_id}))["participants"]) == 3


async def test_who_has_not_answered_is_reminded_once_and_then_the_pause_check_is_armed(
    conn: asyncpg.Connection,
) -> None:
    await by_email(conn)
    sync = await started(conn)
    await answer(conn, sync, "bob")

    assert await remind(conn, REMINDER - HOUR) == 0
    assert await remind(conn) == 1
    assert await remind(conn) == 0

    assert await told(conn, "auto_sync_invited") == list(MEMBERS)
    assert await told(conn, "auto_sync_reminder") == ["ann", "eve"]
    assert await jobs_of(conn, sync) == [
        ("auto_sync_reminder", "processed", REMINDER),
        ("auto_sync_pause_check", "pending", PAUSE),
    ]
    assert await events(conn) == ["created", "responded", "reminded"]


async def test_a_goal_that_is_not_met_in_time_pauses_it(conn: asyncpg.Connection) -> None:
    sync = await started(conn)
    await remind(conn)

    assert await pause(conn, PAUSE - HOUR) == 0
    assert await pause(conn) == 1

    after = await read(conn, sync)
    assert (after["status"], after["pause_reason"]) == ("paused", "goal_not_met")
    assert [status for _, status, _ in await jobs_of(conn, sync)] == ["processed", "processed"]
    assert await events(conn) == ["created", "reminded", "paused"]
    await assert_no_violation(conn)


async def test_resuming_arms_what_is_still_to_come_from_that_moment_on(conn: asyncpg.Connection) -> None:
    sync = await started(conn)
    await step(conn, sync, "paused", p_now=START + HOUR)
    assert await pending(conn, sync) == []

    await step(conn, sync, "running", p_now=START + 5 * HOUR)
    assert await pending(conn, sync) == [("auto_sync_reminder", REMINDER + 5 * HOUR)]

    await remind(conn, REMINDER + 5 * HOUR)
    assert await pending(conn, sync) == [("auto_sync_pause_check", PAUSE + 5 * HOUR)]
    await pause(conn, PAUSE + 5 * HOUR)
    await step(conn, sync, "running", p_now=PAUSE + DAY)
    assert await pending(conn, sync) == [("auto_sync_pause_check", PAUSE + 3 * DAY)]
    assert await events(conn) == ["created", "paused", "resumed", "reminded", "paused", "resumed"]


async def test_a_step_taken_twice_is_taken_once(conn: asyncpg.Connection) -> None:
    sync = await started(conn)
    for status in ("paused", "paused", "running", "running", "cancelled", "cancelled"):
        assert (await step(conn, sync, status))["status"] == status

    assert await events(conn) == ["created", "paused", "resumed", "cancelled"]
    assert await pending(conn, sync) == []


async def test_the_last_answer_completes_it_and_skips_what_is_pending(conn: asyncpg.Connection) -> None:
    await by_email(conn)
    sync = await started(conn, p_times=two_times())
    second = sync["times"][1]["id"]
    await answer(conn, sync, "ann", times=[second])
    await answer(conn, sync, "bob", "declined")

    done = await answer(conn, sync, "eve")

    assert (done["status"], done["winning_time_id"], done["booking_id"]) == ("completed", second, None)
    assert await jobs_of(conn, sync) == [("auto_sync_reminder", "skipped", REMINDER)]
    assert await told(conn, "auto_sync_completed") == [*MEMBERS, "org"]
    assert await events(conn) == ["created", "responded", "responded", "responded", "completed"]


async def test_of_equals_the_time_proposed_earlier_wins(conn: asyncpg.Connection) -> None:
    sync = await started(conn, p_times=two_times())
    first, second = (t["id"] for t in sync["times"])
    await answer(conn, sync, "ann", times=[second])
    await answer(conn, sync, "bob", times=[first])

    assert (await answer(conn, sync, "eve", "declined"))["winning_time_id"] == first


@pytest.mark.parametrize(
    ("goal", "needed"),
    [
        ({"p_response_goal": "everyone"}, 3),
        ({"p_response_goal": "number", "p_goal_number": 2}, 2),
        ({"p_response_goal": "number", "p_goal_number": 9}, 3),
        ({"p_response_goal": "share", "p_goal_share": 0.5}, 2),
        ({"p_response_goal": "share", "p_goal_share": 0.3}, 1),
        ({"p_response_goal": "named", "p_named_refs": ["ann", "bob"]}, 2),
    ],
)
async def test_a_goal_is_met_by_so_many_answers_whatever_they_are(
    conn: asyncpg.Connection, goal: dict[str, Any], needed: int
) -> None:
    sync = await started(conn, **goal)
    for count, ref in enumerate(MEMBERS[:needed], start=1):
        after = await answer(conn, sync, ref, "declined" if count % 2 else "accepted")
        assert after["status"] == ("completed" if count == needed else "running")


async def test_an_answer_may_be_changed_and_the_same_again_is_no_change(conn: asyncpg.Connection) -> None:
    sync = await started(conn, p_times=two_times())
    first, second = (t["id"] for t in sync["times"])
    for times in ([first, second], [second, first], [second]):
        after = await answer(conn, sync, "ann", times=times)
    after = await answer(conn, sync, "ann", "declined")

    assert after["answered"] == 1
    assert (after["participants"][0]["answer"], after["participants"][0]["times"]) == ("declined", [])
    assert await events(conn) == ["created", *["responded"] * 3]


async def test_what_is_answered_while_it_is_paused_counts_when_it_is_resumed(conn: asyncpg.Connection) -> None:
    sync = await started(conn)
    await step(conn, sync, "paused")
    for ref in MEMBERS:
        assert (await answer(conn, sync, ref))["status"] == "paused"

    assert (await step(conn, sync, "running"))["status"] == "completed"
    assert await events(conn) == ["created", "paused", *["responded"] * 3, "resumed", "completed"]
    assert await pending(conn, sync) == []


async def test_the_winning_time_is_booked_for_the_organizer_whoever_answers_last(
    conn: asyncpg.Connection, make: Factory
) -> None:
    resource_id, slots = await with_slots(make)
    sync = await started(conn, p_times=proposed(slots), p_resource_id=resource_id)
    for ref in MEMBERS:
        actor = json.dumps({"type": "customer", "id": f"customer:{ref}", "customer_ref": ref})
        done = await answer(conn, sync, ref, times=[sync["times"][1]["id"]], p_actor=actor)

    row = await call_row(conn, "get_booking", p_booking_id=done["booking_id"])
    booking = json.loads(row["body"])
    assert (booking["slot_id"], booking["customer_ref"], booking["status"]) == (str(slots[1]), "org", "confirmed")
    assert booking["metadata"] == {"auto_sync_id": sync["id"]}
    assert done["booking_error"] is None
    who = "SELECT performed_by_id FROM audit_log WHERE event = $1"
    assert await conn.fetchval(who, "auto_sync.completed") == "customer:eve"
    assert await conn.fetchval(who, "booking.created") == "auto_sync"


async def test_a_time_that_is_not_to_be_had_gives_way_to_the_next(conn: asyncpg.Connection, make: Factory) -> None:
    resource_id, slots = await with_slots(make)
    sync = await started(conn, p_times=proposed(slots), p_resource_id=resource_id)
    await make.booking(slots[0])
    for ref in MEMBERS:
        done = await answer(conn, sync, ref)

    assert (done["winning_time_id"], done["booking_error"]) == (sync["times"][1]["id"], None)
    assert await conn.fetchval("SELECT slot_id FROM bookings WHERE id = $1", UUID(done["booking_id"])) == slots[1]


async def test_where_none_is_to_be_had_it_says_why_and_completes(conn: asyncpg.Connection, make: Factory) -> None:
    resource_id, slots = await with_slots(make)
    sync = await started(conn, p_times=proposed(slots), p_resource_id=resource_id)
    await make.booking(slots[0])
    await conn.execute("UPDATE slots SET is_legacy = true WHERE id = $1", slots[1])
    for ref in MEMBERS:
        done = await answer(conn, sync, ref)

    assert (done["status"], done["booking_id"], done["booking_error"]) == ("completed", None, "slot_full")
    assert done["winning_time_id"] == sync["times"][0]["id"]
    await assert_no_violation(conn)


async def test_an_organizer_without_a_ref_books_nothing(conn: asyncpg.Connection, make: Factory) -> None:
    resource_id, slots = await with_slots(make, 1)
    crew = await call_json(conn, "create_crew", p_actor=ACTOR, p_name="x", p_organizer='{"name": "Org"}', p_now=START)
    await join(conn, crew["id"], "ann")
    sync = await start(conn, crew["id"], p_times=proposed(slots), p_resource_id=resource_id)

    done = await answer(conn, sync, "ann")

    assert (done["status"], done["booking_error"]) == ("completed", "organizer_without_ref")


async def test_a_resource_needs_an_organizer(conn: asyncpg.Connection, make: Factory) -> None:
    resource_id, _ = await with_slots(make, 1)
    crew_id = await make_crew(conn, "ann", organizer=None)

    with violates("auto_syncs_resource_id_check"):
        await start(conn, crew_id, p_resource_id=resource_id)


async def test_who_joins_later_is_asked_and_nobody_waits_for_who_leaves(conn: asyncpg.Connection) -> None:
    await by_email(conn)
    crew_id = await make_crew(conn, "ann", "bob")
    sync = await start(conn, crew_id)
    eve = await join(conn, crew_id, "eve")
    assert await told(conn, "auto_sync_invited") == list(MEMBERS)
    for ref in ("ann", "bob"):
        assert (await answer(conn, sync, ref))["status"] == "running"

    for _ in range(2):
        await call(conn, "remove_crew_member", p_actor=ACTOR, p_crew_id=crew_id, p_member_id=eve["id"], p_now=PAUSE)

    after = await read(conn, sync)
    assert (after["status"], len(after["participants"])) == ("completed", 2)
    again = await join(conn, crew_id, "eve")
    assert (again["id"], again["left_at"]) == (eve["id"], None)
    assert len((await read(conn, sync))["participants"]) == 2


async def test_after_its_end_nobody_answers_whoever_writes(conn: asyncpg.Connection) -> None:
    sync = await started(conn)
    await step(conn, sync, "cancelled")

    with refused("SB033", "auto_sync_over"):
        await answer(conn, sync, "ann")
    with refused("SB033", "auto_sync_over"):
        await conn.execute("UPDATE auto_sync_participants SET answer = 'declined', answered_at = now()")


async def test_a_raw_answer_completes_it_too(conn: asyncpg.Connection) -> None:
    sync = await started(conn)

    await conn.execute("UPDATE auto_sync_participants SET answer = 'declined', answered_at = now(), updated_at = now()")

    assert (await read(conn, sync))["status"] == "completed"


@pytest.mark.parametrize("times", [[str(uuid4())], []])
async def test_only_its_own_times_can_be_chosen_and_one_of_them_must(
    conn: asyncpg.Connection, times: list[str]
) -> None:
    sync = await started(conn, p_times=two_times())

    with refused("SB034", "invalid_times"):
        await call(
            conn,
            "record_response",
            p_actor=ACTOR,
            p_auto_sync_id=sync["id"],
            p_customer_ref="ann",
            p_answer="accepted",
            p_times=times,
        )


async def test_only_times_that_are_to_come_can_be_proposed(conn: asyncpg.Connection, make: Factory) -> None:
    crew_id = await make_crew(conn, "ann")
    resource_id, slots = await with_slots(make, 1)
    other = await make.slot()
    await make.slot(resource_id)
    for given in (
        {"p_times": two_times(), "p_now": START + 8 * DAY},
        {"p_times": two_times(), "p_resource_id": resource_id},
        {"p_times": proposed(slots)},
        {"p_times": proposed([other]), "p_resource_id": resource_id},
        {"p_times": proposed(slots), "p_resource_id": resource_id, "p_now": START + 8 * DAY},
    ):
        with refused("SB034", "invalid_times"):
            await start(conn, crew_id, **given)
    with refused("SB009", "resource_not_found"):
        await start(conn, crew_id, p_resource_id=NOBODY)


async def test_a_goal_names_members_alone(conn: asyncpg.Connection) -> None:
    crew_id = await make_crew(conn, "ann")

    with refused("SB031", "crew_member_not_found"):
        await start(conn, crew_id, p_response_goal="named", p_named_refs=["ann", "bob"])
    sync = await start(conn, crew_id, p_response_goal="named", p_named_refs=["ann"])
    assert sync["response_goal"] == {"customer_refs": ["ann"]}
    with refused("SB031", "crew_member_not_found"):
        await answer(conn, sync, "org")


async def test_the_same_key_asks_once(conn: asyncpg.Connection) -> None:
    crew_id = await make_crew(conn, "ann")
    made = [await start(conn, crew_id, p_idempotency_key="k", p_request_hash=b"1") for _ in range(2)]

    assert made[0] == made[1]
    with refused("SB010", "idempotency_conflict"):
        await start(conn, crew_id, p_idempotency_key="k", p_request_hash=b"2")


@pytest.mark.parametrize(
    ("before", "after"),
    [("paused", "completed"), ("completed", "running"), ("cancelled", "running"), ("completed", "cancelled")],
)
async def test_no_writer_takes_a_step_that_there_is_not(conn: asyncpg.Connection, before: str, after: str) -> None:
    await started(conn)
    await conn.execute("UPDATE auto_syncs SET status = $1", before)

    with refused("SB007", "invalid_transition"):
        await conn.execute("UPDATE auto_syncs SET status = $1", after)


async def test_a_raw_step_stands_with_its_time_and_takes_the_job_with_it(conn: asyncpg.Connection) -> None:
    sync = await started(conn)

    await conn.execute("UPDATE auto_syncs SET status = 'paused'")
    assert await one(conn, "SELECT paused_at IS NOT NULL, pause_reason, version FROM auto_syncs") == (
        True,
        "by_hand",
        2,
    )
    assert await pending(conn, sync) == []
    await conn.execute("UPDATE auto_syncs SET status = 'running'")
    assert [job_type for job_type, _ in await pending(conn, sync)] == ["auto_sync_reminder"]


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("reminder_after = '3 days'", "auto_syncs_after_check"),
        ("reminder_after = '0'", "auto_syncs_after_check"),
        ("response_goal = 'number'", "auto_syncs_response_goal_check"),
        ("response_goal = 'share', goal_share = 1.1", "auto_syncs_goal_share_check"),
        ("pause_reason = 'x'", "auto_syncs_paused_check"),
        ("status = 'gone'", "auto_syncs_status_check"),
    ],
)
async def test_no_writer_stores_what_an_auto_sync_cannot_be(
    conn: asyncpg.Connection, change: str, constraint: str
) -> None:
    await started(conn)
    if constraint == "auto_syncs_status_check":
        with refused("SB007", "invalid_transition"):
            await conn.execute(f"UPDATE auto_syncs SET {change}")
        return
    with violates(constraint):
        await conn.execute(f"UPDATE auto_syncs SET {change}")


@pytest.mark.parametrize("table", ["crews", "crew_members", "auto_syncs", "auto_sync_times", "auto_sync_participants"])
async def test_nothing_vanishes(conn: asyncpg.Connection, table: str) -> None:
    await started(conn, p_times=two_times())

    with refused("SB012", "change_refused"):
        await conn.execute(f"DELETE FROM {table}")
    if table == "auto_sync_times":
        with refused("SB012", "change_refused"):
            await conn.execute("UPDATE auto_sync_times SET starts_at = starts_at")


async def test_a_lost_job_comes_back_with_the_backfill(conn: asyncpg.Connection) -> None:
    sync = await started(conn)
    await conn.execute("UPDATE jobs SET status = 'cancelled', processed_at = now() WHERE dedupe_key = $1", sync["id"])
    report = await call_json(conn, "check_invariants")
    assert [v["invariant"] for v in report["violations"]] == ["auto_sync_job"]

    assert await call_value(conn, "backfill_auto_sync_jobs", p_limit=0) == 0
    assert await call_value(conn, "backfill_jobs", p_limit=10, p_now=START) == 1
    assert await call_value(conn, "backfill_auto_sync_jobs", p_limit=10) == 0

    assert await pending(conn, sync) == [("auto_sync_reminder", REMINDER)]
    await assert_no_violation(conn)


async def test_nobody_sets_by_hand_how_many_have_answered(conn: asyncpg.Connection) -> None:
    await started(conn)

    await conn.execute("UPDATE auto_syncs SET answered = 3")

    assert await one(conn, "SELECT answered, status FROM auto_syncs") == (0, "running")


async def test_times_that_change_move_the_job(conn: asyncpg.Connection) -> None:
    sync = await started(conn)

    await conn.execute("UPDATE auto_syncs SET reminder_after = '5 minutes', pause_after = '10 minutes'")

    assert await pending(conn, sync) == [("auto_sync_reminder", START + HOUR / 12)]


async def test_the_jobs_are_counted_as_due(conn: asyncpg.Connection) -> None:
    await started(conn)

    assert await one(conn, "SELECT remaining_due FROM due_jobs($1)", REMINDER) == (1,)
    await remind(conn)
    assert await one(conn, "SELECT remaining_due FROM due_jobs($1)", REMINDER) == (0,)
    assert await one(conn, "SELECT remaining_due FROM due_jobs($1)", PAUSE) == (1,)
