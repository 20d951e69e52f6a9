"""CUSTOMERS_KEEP_DAYS: a run of the jobs erases with whom nothing happens, and nobody where it is not set."""

import asyncpg
import pytest

from app.main import create_app
from app.settings import Settings
from tests.conftest import CRON_SECRET, client_of
from tests.factories import ACTOR, Factory
from tests.sql.support import call_json, cancel

# what happened happened two months ago, around every trigger
AGE = """
    SET LOCAL session_replication_role = replica;
    UPDATE customers SET updated_at = updated_at - interval '60 days';
    UPDATE bookings SET updated_at = updated_at - interval '60 days', starts_at = starts_at - interval '60 days',
      ends_at = ends_at - interval '60 days', placed_at = placed_at - interval '60 days';
"""


async def left(conn: asyncpg.Connection, settings: Settings) -> list[str]:
    """Who is still known after a run, which erases one of them within its time."""
    app = create_app(settings)
    async with app.router.lifespan_context(app), client_of(app, CRON_SECRET) as client:
        assert (await client.post("/cron/process-jobs")).status_code == 200
    return [row["ref"] for row in await conn.fetch("SELECT ref FROM customers WHERE ref IS NOT NULL ORDER BY ref")]


async def test_a_run_erases_a_guest_with_whom_nothing_happened(
    make: Factory, conn: asyncpg.Connection, settings: Settings
) -> None:
    await cancel(conn, await make.booking(p_customer='{"name": "Ann", "email": "ann@example.com"}'))
    async with conn.transaction():
        await conn.execute(AGE)

    await left(conn, settings.model_copy(update={"customers_keep_days": 30}))

    assert await conn.fetchval("SELECT num_nonnulls(name, email) = 0 AND erased_at IS NOT NULL FROM customers")


@pytest.mark.parametrize(
    ("days", "known"), [(None, ["ann", "bob", "cid"]), (61, ["ann", "bob", "cid"]), (30, ["bob", "cid"])]
)
async def test_a_run_erases_with_whom_nothing_happened_for_so_long_and_nobody_under_a_legal_hold(
    make: Factory, conn: asyncpg.Connection, settings: Settings, days: int | None, known: list[str]
) -> None:
    for ref in ("ann", "bob"):
        await cancel(conn, await make.booking(p_customer=f'{{"ref": "{ref}"}}'))
    await call_json(conn, "put_legal_hold", p_actor=ACTOR, p_customer_ref="bob", p_reason="case 7")
    async with conn.transaction():
        await conn.execute(AGE)
    await cancel(conn, await make.booking(p_customer='{"ref": "cid"}'))

    assert await left(conn, settings.model_copy(update={"customers_keep_days": days})) == known

    jobs = await conn.fetch("SELECT status, payload ? 'customer_id' AS names FROM jobs WHERE queue = 'privacy'")
    assert [tuple(job) for job in jobs] == [("processed", True)] * (3 - len(known))
