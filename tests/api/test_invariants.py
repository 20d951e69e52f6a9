"""/v1/invariants over HTTP: an admin asks whether every promise holds, and learns which does not."""

from typing import Any
from uuid import UUID

import asyncpg
import httpx2

from tests.api.calls import assert_problem
from tests.contracts.test_responses import assert_declared
from tests.factories import ACTOR, Factory, change_booking
from tests.sql.schedules import put_schedule

PATH = "/v1/invariants"
JOIN = 'SELECT entry_id FROM join_waitlist($1, $2, \'{"ref": "bob"}\')'


async def report(admin: httpx2.AsyncClient) -> Any:
    """The report, once it is as declared."""
    answer = await admin.get(PATH)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert_declared(answer, PATH)
    return answer.json()


async def test_where_every_promise_holds_the_report_says_so(
    admin: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    await make.booking()
    await change_booking(conn, "cancel_booking", await make.booking(), 1)

    assert await report(admin) == {
        "checked": {"slots": 2, "bookings": 2, "jobs": 1},
        "violation_count": 0,
        "violations": [],
    }


async def test_every_kind_of_broken_promise_is_reported_as_declared(
    admin: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    slots = [await make.slot(max_units=2) for _ in range(4)]
    booking_id = await make.booking(slots[1])
    jobless = await make.booking(slots[2])
    entry_id = UUID(str(await conn.fetchval(JOIN, ACTOR, slots[3])))
    resource_id = await make.resource()
    await put_schedule(conn, resource_id)
    # nobody but a superuser gets by the triggers
    await conn.execute(
        f"""SET session_replication_role = replica;
        UPDATE slots SET booked_units = 2 WHERE id = '{slots[0]}';
        UPDATE bookings SET units = 3 WHERE id = '{booking_id}';
        DELETE FROM jobs WHERE booking_id = '{jobless}' OR dedupe_key = '{resource_id}';
        UPDATE waitlist_entries SET status = 'accepted' WHERE id = '{entry_id}'"""
    )

    found = await report(admin)

    expected = [("booking_job", jobless), ("schedule_job", resource_id), ("slot_capacity", slots[1])]
    expected += [("slot_counters", slot_id) for slot_id in sorted(slots[:2])] + [("waitlist_offer", entry_id)]
    assert [(v["invariant"], UUID(v["id"])) for v in found["violations"]] == expected
    assert found["violation_count"] == len(expected)
    assert all(v["facts"] for v in found["violations"])


async def test_admins_alone_may_have_everything_recounted(
    frontend: httpx2.AsyncClient, cron: httpx2.AsyncClient, public: httpx2.AsyncClient
) -> None:
    assert_problem(await frontend.get(PATH), 403, "forbidden")
    for client in (cron, public):
        assert_problem(await client.get(PATH), 401, "unauthorized")
