"""Prebookings at a resource of ours, until booking opens: what is taken, what is refused, and when it fires.

create_prebooking makes one, cancel_prebooking gives it up, and prebookings_sync_jobs sees to its job.
"""

import json
from datetime import timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.factories import ACTOR, HOUR, SYSTEM, Factory
from tests.sql.events import names, reader
from tests.sql.prebookings import (
    AT_TEN,
    EARLIER,
    ELEVEN,
    MONDAY,
    OPENS,
    TEN,
    create,
    give_up,
    make_pitch,
    openings_of,
    prebook,
    prebook_there,
    put_provider,
    read,
    run,
    targets,
)
from tests.sql.schedules import put_schedule
from tests.sql.support import NOBODY, TICK, at, call_json, call_row, call_value, one, refused, violates

ANN = json.dumps({"type": "customer", "id": "ann", "customer_ref": "ann"})
BEN = json.dumps({"type": "customer", "id": "ben", "customer_ref": "ben"})


@pytest.fixture
async def pitch(conn: asyncpg.Connection) -> UUID:
    return await make_pitch(conn)


async def audited(conn: asyncpg.Connection, prebooking: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    """The audit trail of a prebooking: event, who, and why."""
    rows = await conn.fetch(
        "SELECT event, performed_by_id, reason FROM audit_log WHERE subject_type = 'prebooking' AND subject_id = $1"
        " ORDER BY id",
        prebooking["id"],
    )
    return [tuple(row) for row in rows]


async def lose_jobs(conn: asyncpg.Connection) -> None:
    """Nothing of what was to be done will be done."""
    await conn.execute("UPDATE jobs SET status = 'cancelled', processed_at = now() WHERE status = 'pending'")


# When it opens


async def test_it_opens_as_the_schedule_says(conn: asyncpg.Connection, pitch: UUID) -> None:
    made = await prebook(conn, pitch, "ann")

    assert (made["status"], made["opens_at"]) == ("pending", OPENS.isoformat())
    job = await one(conn, "SELECT job_type, queue, run_at FROM jobs WHERE job_type = 'run_openings'")
    assert tuple(job) == ("run_openings", "openings", OPENS)


@pytest.mark.parametrize(
    ("date", "opens_at"),
    [
        # Athens is two hours ahead in winter and three in summer, from 2030-03-31 to 2030-10-27
        ("2030-04-01", "2030-03-25T06:00+00:00"),
        ("2030-04-07", "2030-03-31T05:00+00:00"),
        ("2030-10-28", "2030-10-21T05:00+00:00"),
        ("2030-11-03", "2030-10-27T06:00+00:00"),
    ],
)
async def test_it_opens_at_the_same_time_of_day_whatever_the_clocks_did(
    conn: asyncpg.Connection, pitch: UUID, date: str, opens_at: str
) -> None:
    long_before = at("2030-03-01T00:00")

    made = await prebook(conn, pitch, "ann", f"{date}T10:00", p_now=long_before)

    assert at(made["opens_at"]) == at(opens_at)
    starts = await call_value(conn, "target_starts", p_resource_id=pitch, p_targets=targets(f"{date}T10:00"))
    opening = await call_value(
        conn, "opening_of", p_resource_id=pitch, p_provider=None, p_targets=targets(TEN), p_starts=starts
    )
    assert opening == at(opens_at)


async def test_all_of_one_opening_are_one_job(conn: asyncpg.Connection, pitch: UUID) -> None:
    for ref in ("ann", "ben", "cleo"):
        made = await prebook(conn, pitch, ref)

    assert await openings_of(conn) == [("pending", OPENS)]
    key = await conn.fetchval("SELECT prebooking_job_key(p) FROM prebookings p WHERE id = $1", UUID(made["id"]))
    assert (await one(conn, "SELECT dedupe_key FROM jobs WHERE job_type = 'run_openings'"))[0] == key


async def test_where_booking_is_open_already_it_fires_at_once(conn: asyncpg.Connection, pitch: UUID) -> None:
    later = OPENS + HOUR

    made = await prebook(conn, pitch, "ann", p_now=later)

    assert at(made["opens_at"]) == later
    assert await openings_of(conn) == [("pending", later)]
    assert await run(conn, pitch, now=later) == (1, 0, 0)


async def test_without_a_window_it_fires_at_once(conn: asyncpg.Connection) -> None:
    pitch = await make_pitch(conn, booking_window_days=None)

    assert at((await prebook(conn, pitch, "ann"))["opens_at"]) == EARLIER
    assert await run(conn, pitch, now=EARLIER) == (1, 0, 0)


async def test_a_resource_whose_slots_are_made_by_hand_takes_prebookings_too(
    conn: asyncpg.Connection, make: Factory
) -> None:
    resource_id = await make.resource(timezone="Europe/Athens")
    await make.slot(resource_id, starts_at=AT_TEN)

    await prebook(conn, resource_id, "ann")

    assert await run(conn, resource_id, now=EARLIER) == (1, 0, 0)


# What is refused


async def test_a_target_that_is_past_is_refused(conn: asyncpg.Connection, pitch: UUID) -> None:
    with refused("SB025", "invalid_target") as refusal:
        await prebook(conn, pitch, "ann", TEN, "2030-06-02T10:00")

    assert refusal.detail["target"] == {"starts_at_local": "2030-06-02T10:00"}
    assert at(refusal.detail["starts_at"]) == at("2030-06-02T10:00+03:00")
    assert await conn.fetchval("SELECT count(*) FROM prebookings") == 0


async def test_a_target_that_begins_this_instant_is_past(conn: asyncpg.Connection, pitch: UUID) -> None:
    with refused("SB025", "invalid_target"):
        await call_value(conn, "target_starts", p_resource_id=pitch, p_targets=targets(TEN), p_now=AT_TEN)

    starts = await call_value(conn, "target_starts", p_resource_id=pitch, p_targets=targets(TEN), p_now=AT_TEN - TICK)
    assert starts == [AT_TEN]


async def test_a_time_that_the_clocks_skip_is_refused(conn: asyncpg.Connection, pitch: UUID) -> None:
    skipped = "2030-03-31T03:30"

    with refused("SB025", "invalid_target") as refusal:
        await prebook(conn, pitch, "ann", skipped, p_now=at("2030-03-01T00:00"))

    assert refusal.detail == {"target": {"starts_at_local": skipped}, "starts_at": None}
    assert await call_value(conn, "local_starts", p_resource_id=pitch, p_targets=targets(TEN, skipped)) == [
        AT_TEN,
        None,
    ]


async def test_a_customer_has_one_prebooking_for_a_target(conn: asyncpg.Connection, pitch: UUID) -> None:
    first = await prebook(conn, pitch, "ann")

    with refused("SB026", "already_prebooked") as refusal:
        await prebook(conn, pitch, "ann", TEN, ELEVEN)

    assert refusal.detail == {"resource_id": str(pitch), "provider": None, "target": {"starts_at_local": TEN}}
    await prebook(conn, pitch, "ann", ELEVEN)
    await prebook(conn, pitch, "ben")
    await give_up(conn, first)
    await prebook(conn, pitch, "ann")


async def test_a_resource_or_provider_that_is_not_there_is_refused(conn: asyncpg.Connection) -> None:
    with refused("SB009", "resource_not_found"):
        await prebook(conn, NOBODY, "ann")
    with refused("SB022", "provider_not_found"):
        await prebook_there(conn, "nobody", "ann")


async def test_a_customer_with_a_token_prebooks_for_nobody_else(conn: asyncpg.Connection, pitch: UUID) -> None:
    made = await prebook(conn, pitch, "ben", p_actor=ANN)

    assert made["customer_ref"] == "ann"


# Once per key


async def test_a_repeated_request_is_one_prebooking(conn: asyncpg.Connection, pitch: UUID) -> None:
    key = {"p_idempotency_key": "k-1", "p_request_hash": b"same"}

    first, again = [await create(conn, pitch, "ann", **key) for _ in range(2)]

    assert (first["replayed"], again["replayed"]) == (False, True)
    assert (again["prebooking_id"], again["body"]) == (first["prebooking_id"], first["body"])
    assert await conn.fetchval("SELECT count(*) FROM prebookings") == 1


async def test_a_key_of_another_request_is_refused(conn: asyncpg.Connection, pitch: UUID) -> None:
    await create(conn, pitch, "ann", p_idempotency_key="k-1", p_request_hash=b"one")

    for ref in ("ann", "ben"):
        with refused("SB010", "idempotency_conflict"):
            await create(conn, pitch, ref, ELEVEN, p_idempotency_key="k-1", p_request_hash=b"another")
    assert await conn.fetchval("SELECT count(*) FROM prebookings") == 1


async def test_a_refusal_keeps_no_key(conn: asyncpg.Connection, pitch: UUID) -> None:
    key = {"p_idempotency_key": "k-1", "p_request_hash": b"same"}
    blocking = await prebook(conn, pitch, "ann")
    with refused("SB026", "already_prebooked"):
        await create(conn, pitch, "ann", **key)
    await give_up(conn, blocking)

    assert (await create(conn, pitch, "ann", **key))["replayed"] is False


# Cancelling


async def test_cancelling_twice_is_once(conn: asyncpg.Connection, pitch: UUID) -> None:
    made = await prebook(conn, pitch, "ann")

    first = await give_up(conn, made, p_reason="rain")
    again = await give_up(conn, made, p_now=OPENS)

    assert (first["status"], first["version"], again) == ("cancelled", 2, first)
    assert await run(conn, pitch) == (0, 0, 0)
    assert await audited(conn, made) == [
        ("prebooking.created", "tester", None),
        ("prebooking.cancelled", "tester", "rain"),
    ]


async def test_what_has_fired_cannot_be_cancelled(conn: asyncpg.Connection, pitch: UUID) -> None:
    made = await prebook(conn, pitch, "ann")
    await run(conn, pitch)

    with refused("SB007", "invalid_transition") as refusal:
        await give_up(conn, made)

    assert refusal.detail == {"prebooking_id": made["id"], "from": "succeeded", "to": "cancelled"}
    assert (await read(conn, made))["status"] == "succeeded"


async def test_anothers_prebooking_is_not_found(conn: asyncpg.Connection, pitch: UUID) -> None:
    made = await prebook(conn, pitch, "ann")

    with refused("SB024", "prebooking_not_found"):
        await give_up(conn, made, p_actor=BEN)
    with refused("SB024", "prebooking_not_found"):
        await call_json(conn, "get_prebooking", p_prebooking_id=UUID(made["id"]), p_customer_ref="ben")
    with refused("SB024", "prebooking_not_found") as refusal:
        await call_json(conn, "get_prebooking", p_prebooking_id=NOBODY)

    assert refusal.detail == {"prebooking_id": str(NOBODY)}
    assert (await give_up(conn, made, p_actor=ANN))["status"] == "cancelled"


async def test_one_at_a_provider_that_is_cancelled_has_no_job(conn: asyncpg.Connection) -> None:
    await put_provider(conn)
    made = await prebook_there(conn, "club", "ann")
    job = "SELECT status, run_at FROM jobs WHERE job_type = 'execute_prebooking'"
    assert await one(conn, job) == ("pending", OPENS - timedelta(seconds=4))

    await give_up(conn, made)

    assert (await one(conn, job))[0] == "cancelled"


async def test_credentials_are_looked_at_a_day_before(conn: asyncpg.Connection) -> None:
    await put_provider(conn)
    await call_json(
        conn,
        "put_credentials",
        p_actor=ACTOR,
        p_provider="club",
        p_customer_ref="ann",
        p_key_id="k",
        p_nonce=b"n" * 12,
        p_ciphertext=b"c" * 32,
    )
    # the check that storing them asks for is another matter
    await lose_jobs(conn)
    two_days_before = OPENS - timedelta(days=2)

    made = await prebook_there(conn, "club", "ann", p_now=two_days_before)

    checks = "SELECT run_at FROM jobs WHERE job_type = 'check_credentials' AND status = 'pending'"
    assert [row["run_at"] for row in await conn.fetch(checks)] == [OPENS - timedelta(days=1)]
    # nothing where it opens sooner
    await give_up(conn, made)
    await lose_jobs(conn)
    await prebook_there(conn, "club", "ann", p_now=OPENS - timedelta(days=1))
    await conn.fetch("SELECT check_credentials_before(p) FROM prebookings p WHERE p.status = 'pending'")
    assert await conn.fetch(checks) == []


# What no writer can do


async def test_no_writer_takes_a_step_that_is_not_listed(conn: asyncpg.Connection, pitch: UUID) -> None:
    made = await prebook(conn, pitch, "ann")
    await give_up(conn, made)

    # prebookings_guard_update stands before every writer
    for status in ("pending", "executing", "succeeded", "failed"):
        with refused("SB007", "invalid_transition") as refusal:
            await conn.execute(
                "UPDATE prebookings SET status = $1, booked_choice = 1, booking_id = gen_random_uuid(), reason = 'x'",
                status,
            )
        assert refusal.detail == {"prebooking_id": made["id"], "from": "cancelled", "to": status}


async def test_a_step_back_is_refused(conn: asyncpg.Connection, pitch: UUID) -> None:
    await prebook(conn, pitch, "ann")
    await conn.execute("UPDATE prebookings SET status = 'executing'")

    for status in ("pending", "cancelled"):
        with refused("SB007", "invalid_transition"):
            await conn.execute("UPDATE prebookings SET status = $1", status)


async def test_no_writer_deletes_one(conn: asyncpg.Connection, pitch: UUID) -> None:
    await prebook(conn, pitch, "ann")

    for statement in ("DELETE FROM prebookings", "TRUNCATE prebookings CASCADE"):
        with refused("SB012", "change_refused"):
            await conn.execute(statement)


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("provider = 'club'", "prebookings_where_check"),
        ("resource_id = NULL, starts_at = NULL", "prebookings_where_check"),
        ("targets = '{}'", "prebookings_targets_check"),
        ("targets = '[]', starts_at = '{}'", "prebookings_targets_check"),
        ("starts_at = NULL", "prebookings_starts_at_check"),
        ("starts_at = '{}'", "prebookings_starts_at_check"),
        ("starts_at = ARRAY[NULL]::timestamptz[]", "prebookings_starts_at_check"),
        ("starts_at = starts_at || starts_at", "prebookings_starts_at_check"),
        ("units = 0", "prebookings_units_check"),
        ("payment_method = 'barter'", "prebookings_payment_method_check"),
        ("opens_at = 'infinity'", "prebookings_opens_at_check"),
        ("booking_id = gen_random_uuid()", "prebookings_result_check"),
        ("reason = 'why'", "prebookings_result_check"),
        ("status = 'failed'", "prebookings_result_check"),
        ("status = 'succeeded'", "prebookings_result_check"),
        ("status = 'succeeded', booked_choice = 1", "prebookings_result_check"),
        ("customer_id = gen_random_uuid()", "prebookings_customer_id_fkey"),
    ],
)
async def test_nonsense_is_refused_to_every_writer(
    conn: asyncpg.Connection, pitch: UUID, change: str, constraint: str
) -> None:
    await put_provider(conn)
    await prebook(conn, pitch, "ann")

    with violates(constraint):
        await conn.execute(f"UPDATE prebookings SET {change}")


async def test_a_status_that_there_is_not_is_refused(conn: asyncpg.Connection, pitch: UUID) -> None:
    made = await prebook(conn, pitch, "ann")
    columns = "customer_id, resource_id, targets, starts_at, opens_at"

    with violates("prebookings_status_check"):
        await conn.execute(
            f"INSERT INTO prebookings ({columns}, status) SELECT {columns}, 'lost' FROM prebookings WHERE id = $1",
            UUID(made["id"]),
        )


@pytest.mark.parametrize(
    ("values", "constraint"),
    [
        ("0, NULL, NULL", "prebooking_attempts_choice_check"),
        ("1, 'booked', NULL", "prebooking_attempts_ended_check"),
        ("1, NULL, now()", "prebooking_attempts_ended_check"),
    ],
)
async def test_an_attempt_that_makes_no_sense_is_refused(
    conn: asyncpg.Connection, pitch: UUID, values: str, constraint: str
) -> None:
    made = await prebook(conn, pitch, "ann")

    with violates(constraint):
        await conn.execute(
            f"""INSERT INTO prebooking_attempts (prebooking_id, started_at, choice, finding, ended_at)
            VALUES ($1, now(), {values})""",
            UUID(made["id"]),
        )


# Lists


async def test_a_list_has_those_that_pass_every_filter_in_order_of_creation(
    conn: asyncpg.Connection, pitch: UUID
) -> None:
    await put_provider(conn)
    ann = await prebook(conn, pitch, "ann")
    ben = await prebook(conn, pitch, "ben", p_now=EARLIER + TICK)
    away = await prebook_there(conn, "club", "ann", p_now=EARLIER + 2 * TICK)
    await give_up(conn, ben)
    await conn.execute("UPDATE prebookings SET needs_attention = true WHERE id = $1", UUID(away["id"]))

    async def listed(**filters: Any) -> list[str]:
        given = {f"p_{name}": value for name, value in filters.items()}
        return [item["id"] for item in (await call_json(conn, "list_prebookings", **given))["items"]]

    assert await listed() == [each["id"] for each in (ann, ben, away)]
    assert await listed(resource_id=pitch) == [ann["id"], ben["id"]]
    assert await listed(provider="club") == [away["id"]]
    assert await listed(customer_ref="ann") == [ann["id"], away["id"]]
    assert await listed(customer_ref="nobody") == []
    assert await listed(status="cancelled") == [ben["id"]]
    assert await listed(needs_attention=True) == [away["id"]]
    assert await listed(customer_ref="ann", resource_id=pitch, status="pending") == [ann["id"]]


async def test_pages_follow_each_other_without_a_gap(conn: asyncpg.Connection, pitch: UUID) -> None:
    # of one instant: the id decides
    made = {(await prebook(conn, pitch, f"c{n}"))["id"] for n in range(5)}
    seen: list[str] = []
    cursor = None

    for expected in (2, 2, 1):
        page = await call_json(conn, "list_prebookings", p_limit=2, p_cursor=cursor)
        assert len(page["items"]) == expected
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]

    assert cursor is None
    assert (seen, set(seen)) == (sorted(made), made)


# Told as events


async def test_what_becomes_of_it_is_told_as_it_was_then(conn: asyncpg.Connection, pitch: UUID) -> None:
    await put_schedule(conn, pitch, p_now=MONDAY, max_bookings=1, booking_window_days=7, opens_at_local="08:00")
    stream = await reader(
        conn, types=[f"prebooking.{name}" for name in ("created", "succeeded", "failed", "cancelled")]
    )
    first, second, third = [await prebook(conn, pitch, ref) for ref in ("ann", "ben", "cleo")]
    await give_up(conn, third)
    assert await run(conn, pitch) == (1, 1, 0)

    told = await stream.news()

    assert names(told) == [
        *["prebooking.created"] * 3,
        "prebooking.cancelled",
        "prebooking.succeeded",
        "prebooking.failed",
    ]
    assert [event["data"] for event in told[:3]] == [first, second, third]
    assert [event["data"] for event in told[4:]] == [await read(conn, first), await read(conn, second)]
    assert told[4]["data"]["attempts"][0]["finding"] == "booked"
    for prebooking in (first, second, third):
        sequences = [event["sequence"] for event in told if event["subject"]["id"] == prebooking["id"]]
        assert all(earlier < later for earlier, later in pairwise(sequences))
        assert [event["data"]["version"] for event in told if event["subject"]["id"] == prebooking["id"]] == sequences
    assert told[0]["subject"] == {"type": "prebooking", "id": first["id"]}


async def test_a_customer_is_told_of_own_prebookings_alone(conn: asyncpg.Connection, pitch: UUID) -> None:
    stream = await reader(conn, customer_ref="ben", types=["prebooking.created"])
    await prebook(conn, pitch, "ann")
    await prebook(conn, pitch, "ben")

    assert [event["data"]["customer_ref"] for event in await stream.news()] == ["ben"]


async def test_who_booked_it_is_on_record(conn: asyncpg.Connection, pitch: UUID) -> None:
    made = await prebook(conn, pitch, "ann")
    await run(conn, pitch)

    assert await audited(conn, made) == [
        ("prebooking.created", "tester", None),
        ("prebooking.succeeded", "cron", None),
    ]
    (booking,) = await conn.fetch("SELECT id, metadata FROM bookings")
    assert json.loads(booking["metadata"]) == {"prebooking_id": made["id"]}
    assert (await read(conn, made))["booking_id"] == str(booking["id"])


# The policy


async def test_the_policy_is_one_of_the_rules(conn: asyncpg.Connection, pitch: UUID) -> None:
    async def policy() -> str:
        row = await call_row(conn, "get_schedule", p_resource_id=pitch, p_now=MONDAY)
        return str(json.loads(row["body"])["opening_policy"])

    # a caller that knows nothing of it does not send it
    assert await policy() == "fifo"
    await put_schedule(conn, pitch, p_now=MONDAY, opening_policy="lottery")
    assert await policy() == "lottery"
    await put_schedule(conn, pitch, p_now=MONDAY)
    assert await policy() == "fifo"


async def test_a_policy_that_there_is_not_is_refused(conn: asyncpg.Connection, pitch: UUID) -> None:
    with violates("schedules_opening_policy_check"):
        await put_schedule(conn, pitch, p_now=MONDAY, opening_policy="auction")


# A job for each


async def test_a_job_is_asked_for_when_its_opening_comes(conn: asyncpg.Connection, pitch: UUID) -> None:
    await prebook(conn, pitch, "ann")
    await lose_jobs(conn)

    await conn.execute("SELECT enqueue_opening(p, $1) FROM prebookings p", EARLIER)

    assert await openings_of(conn) == [("cancelled", OPENS), ("pending", OPENS)]


async def test_one_whose_job_is_lost_gets_another(conn: asyncpg.Connection, pitch: UUID) -> None:
    made = await prebook(conn, pitch, "ann")
    await lose_jobs(conn)

    async def sweep(now: Any, limit: int = 10) -> int:
        return int(await call_value(conn, "sweep_prebookings", p_actor=SYSTEM, p_limit=limit, p_now=now))

    # a minute is given to whoever is about to
    assert await sweep(OPENS + timedelta(minutes=1)) == 0
    assert await sweep(OPENS + timedelta(minutes=1) + TICK) == 1
    assert await openings_of(conn) == [("cancelled", OPENS), ("pending", OPENS)]
    assert await sweep(OPENS + timedelta(minutes=2)) == 0
    assert (await read(conn, made))["status"] == "pending"


async def test_one_at_a_provider_whose_job_is_over_without_it_has_failed(conn: asyncpg.Connection) -> None:
    await put_provider(conn)
    sent, unsent = [await prebook_there(conn, "club", ref) for ref in ("ann", "ben")]
    await lose_jobs(conn)
    await conn.execute(
        "INSERT INTO prebooking_attempts (prebooking_id, choice, started_at) VALUES ($1, 1, $2)",
        UUID(sent["id"]),
        OPENS,
    )

    swept = await call_value(conn, "sweep_prebookings", p_actor=SYSTEM, p_limit=10, p_now=OPENS + timedelta(minutes=2))

    assert swept == 2
    ended = [await read(conn, each) for each in (sent, unsent)]
    assert [(each["status"], each["reason"], each["needs_attention"]) for each in ended] == [
        ("failed", "gave_up", True),
        ("failed", "gave_up", False),
    ]


async def test_a_prebooking_is_shown_as_it_was_at_a_time(conn: asyncpg.Connection, pitch: UUID) -> None:
    made = await prebook(conn, pitch, "ann")
    await run(conn, pitch)
    shown = "SELECT prebooking_json(p, $1) ->> 'attempts' FROM prebookings p WHERE id = $2"

    assert await conn.fetchval(shown, OPENS - TICK, UUID(made["id"])) == "[]"
    assert len(json.loads(await conn.fetchval(shown, OPENS, UUID(made["id"])))) == 1
