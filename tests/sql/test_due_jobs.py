"""due_jobs: how much work waits, and for how long."""

from datetime import timedelta

import asyncpg

from tests.factories import TOMORROW, Factory
from tests.sql.support import TICK, call_row, cancel

END = TOMORROW + timedelta(hours=1)


async def test_nothing_due_is_zero_jobs_of_age_zero(make: Factory, conn: asyncpg.Connection) -> None:
    await make.booking(await make.slot(starts_at=TOMORROW))

    assert tuple(await call_row(conn, "due_jobs", p_now=END - TICK)) == (0, 0)


async def test_it_counts_what_is_due_and_says_how_long_the_oldest_waits(
    make: Factory, conn: asyncpg.Connection
) -> None:
    for hours in (0, 2, 9):
        await make.booking(await make.slot(starts_at=TOMORROW + timedelta(hours=hours)))
    await cancel(conn, await make.booking(await make.slot(starts_at=TOMORROW)))

    assert tuple(await call_row(conn, "due_jobs", p_now=END + timedelta(hours=2))) == (2, 2 * 3600 * 1000)


async def test_lapsed_holds_are_due_too(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(starts_at=TOMORROW + timedelta(days=1))
    await make.booking(slot_id, p_payment_method="pay_now", p_now=TOMORROW)

    assert tuple(await call_row(conn, "due_jobs", p_now=TOMORROW + timedelta(minutes=16))) == (1, 60_000)
