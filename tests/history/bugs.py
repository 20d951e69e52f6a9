"""Bugs as people make them, each put into a database or in front of the app: what the checker has to see."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

import asyncpg
from starlette.types import ASGIApp, Message, Receive, Scope, Send

Plant = Callable[[asyncpg.Connection], Awaitable[None]]


class Bug(NamedTuple):
    """How it is planted, which promise it breaks, and whether it stands in front of the app."""

    plant: Plant
    breaks: str
    front: Callable[[ASGIApp], ASGIApp] | None = None


def rewritten(function: str, text: str, other: str, also: str = "") -> Plant:
    """The function with other words in the place of these, and one more statement."""

    async def plant(conn: asyncpg.Connection) -> None:
        source = await conn.fetchval("SELECT pg_get_functiondef($1::regproc)", function)
        assert text in source, f"{function} has no {text!r}"
        await conn.execute(source.replace(text, other) + ";" + also)

    return plant


def run(statements: str) -> Plant:
    """Whatever these statements do."""

    async def plant(conn: asyncpg.Connection) -> None:
        await conn.execute(statements)

    return plant


# the answer is made, and what it tells of is undone, as by a process that answers first and dies before its commit
ANSWERED_FIRST = """
    ALTER FUNCTION create_booking_safe RENAME TO create_booking_undone;
    CREATE FUNCTION create_booking_safe(
      p_actor jsonb, p_slot_id uuid, p_customer jsonb, p_units integer, p_payment_method text, p_metadata jsonb,
      p_idempotency_key text, p_request_hash bytea
    )
    RETURNS TABLE (booking_id uuid, booking_version integer, body json, replayed boolean) LANGUAGE plpgsql AS $$
    DECLARE
      v_made record;
    BEGIN
      BEGIN
        SELECT * INTO v_made FROM create_booking_undone(
          p_actor, p_slot_id, p_customer, p_units, p_payment_method, p_metadata, p_idempotency_key, p_request_hash
        );
        RAISE SQLSTATE 'XX999';
      EXCEPTION WHEN SQLSTATE 'XX999' THEN
        RETURN QUERY SELECT v_made.booking_id, v_made.booking_version, v_made.body, v_made.replayed;
      END;
    END
    $$
"""


class SaysNo:
    """ASGI middleware: answers bookings that were made as if there had been no place."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def lie(message: Message) -> None:
            await send({**message, "status": 409} if message.get("status") == 201 else message)

        await self.app(scope, receive, lie)


BUGS: dict[str, Bug] = {
    "the slot is not locked": Bug(
        rewritten(
            "lock_slot", "FOR NO KEY UPDATE", "", "ALTER TABLE slots DROP CONSTRAINT slots_booked_bookings_check"
        ),
        "no_slot_is_oversold",
    ),
    "keys are not remembered": Bug(
        rewritten("remember_request", "IF p_key IS NULL THEN", "IF true THEN"), "one_effect_per_key"
    ),
    "the answer comes before the commit": Bug(run(ANSWERED_FIRST), "acknowledged_is_kept"),
    "a repeat is told something else": Bug(
        rewritten(
            "replay_request",
            "RETURN v_request.response;",
            "RETURN jsonb_set(v_request.response::jsonb, '{units}', '7');",
        ),
        "replays_are_equal",
    ),
    "what was done is told as refused": Bug(run("SELECT"), "refused_leaves_nothing", SaysNo),
    "versions are not compared": Bug(
        rewritten("require_version", "BEGIN", "BEGIN RETURN;"), "no_change_is_overwritten"
    ),
    "a change does not grow the version": Bug(
        rewritten("bookings_guard_update", "NEW.version := OLD.version + 1;", ""), "audit_equals_the_changes"
    ),
    "a move keeps its old place": Bug(
        rewritten("bookings_count_places", "IF OLD.holds_place THEN", "IF false THEN"), "counters_equal_a_recount"
    ),
    "a trigger swallows its error": Bug(
        rewritten(
            "bookings_sync_jobs",
            "IF v_wanted IS NOT NULL THEN",
            "BEGIN PERFORM 1 / 0; EXCEPTION WHEN OTHERS THEN RETURN NULL; END; IF v_wanted IS NOT NULL THEN",
        ),
        "every_booking_has_its_job",
    ),
    "changes leave jobs alone": Bug(
        run("DROP TRIGGER bookings_sync_jobs_on_update ON bookings"), "every_booking_has_its_job"
    ),
    "cancellations are not audited": Bug(
        run(
            "DROP TRIGGER bookings_write_audit ON bookings; CREATE TRIGGER bookings_write_audit AFTER INSERT OR UPDATE"
            " ON bookings FOR EACH ROW WHEN (NEW.status <> 'cancelled') EXECUTE FUNCTION write_audit_log('booking')"
        ),
        "audit_equals_the_changes",
    ),
    "what is completed is completed again": Bug(
        rewritten(
            "complete_due_bookings",
            "AND j.status = 'pending' AND j.run_at <= p_now\n      AND b.status = 'confirmed'",
            "AND j.run_at <= p_now AND b.status IN ('confirmed', 'completed')",
        ),
        "a_status_takes_known_steps",
    ),
    "what is over is not completed": Bug(
        rewritten("complete_due_bookings", "LIMIT p_limit", "LIMIT 0"), "nothing_due_is_left"
    ),
    "a job is settled without its token": Bug(
        rewritten("settle_jobs", "AND j.lease_token = g.lease_token", ""), "only_the_holder_settles"
    ),
    "a job is completed without its token": Bug(
        rewritten("complete_jobs", "AND j.lease_token = g.token", ""), "only_the_holder_settles"
    ),
}
