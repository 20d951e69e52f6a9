"""kill -9 of the API, the worker and Postgres under load, and what the checker says of it afterwards."""

import asyncio
import random
from collections.abc import Sequence

import asyncpg

from tests.factories import make_api_key
from tests.history.checker import broken
from tests.history.installation import VICTIMS, Installation, until
from tests.history.state import read_state
from tests.history.traffic import Traffic

# of each round: some that are far away, and some that are over soon, so that there is something to complete
SLOTS = """
    INSERT INTO slots (resource_id, starts_at, ends_at, max_bookings)
    SELECT $1, s, s + interval '1 s', 3
    FROM generate_series(0, 5) n, LATERAL (
      SELECT clock_timestamp() + CASE WHEN n < 3 THEN interval '1 s' ELSE interval '1 day' END + n * interval '1 s' AS s
    ) t
    RETURNING id::text
"""
RESOURCE = 'SELECT resource_id FROM create_resource(\'{"type": "system", "id": "test"}\', \'Pitch\', \'UTC\')'
IS_DONE = "NOT EXISTS (SELECT FROM bookings WHERE status = 'confirmed' AND ends_at < clock_timestamp())"
LEFT_BEHIND = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
      AND state <> 'idle'
"""


async def connected(installation: Installation) -> asyncpg.Connection:
    """A way around the API."""
    return await asyncpg.connect(installation.url, server_settings={"search_path": "holdfast"})


def plan(rounds: int, chance: random.Random) -> Sequence[str]:
    """Whom to kill, round by round: each as often as the others, in any order."""
    return [name for _ in range(0, rounds, len(VICTIMS)) for name in chance.sample(VICTIMS, len(VICTIMS))][:rounds]


async def add_slots(installation: Installation, resource_id: object) -> list[str]:
    """Fresh slots to fight for."""
    conn = await connected(installation)
    try:
        return [row["id"] for row in await conn.fetch(SLOTS, resource_id)]
    finally:
        await conn.close()


async def kill_in_rounds(installation: Installation, rounds: int, seed: int) -> Traffic:
    """Let clients do as they like and kill somebody in every round; returns when all of it has come to rest."""
    chance = random.Random(seed)  # noqa: S311 - a repeatable choice
    traffic = Traffic(random.Random(seed + 1))  # noqa: S311
    conn = await connected(installation)
    resource_id, api_key = await conn.fetchval(RESOURCE), await make_api_key(conn, "frontend")
    await conn.close()
    traffic.slots = await add_slots(installation, resource_id)
    async with asyncio.TaskGroup() as group:
        group.create_task(traffic.run(installation.port, api_key))
        for victim in plan(rounds, chance):
            traffic.slots = [*traffic.slots[-3:], *await add_slots(installation, resource_id)]
            # at a moment that nobody chose: nothing here waits for it
            await asyncio.sleep(chance.uniform(0.2, 0.8))
            installation.kill(victim)
            await installation.revive(victim)
        traffic.is_over = True
    return traffic


async def assert_every_promise_was_kept(installation: Installation, traffic: Traffic) -> None:
    """What all clients were told, what the database says, and what it counts itself agree; nothing is left behind."""
    conn = await connected(installation)
    try:
        await until(conn, IS_DONE, installation.log)
        assert broken(traffic.history, await read_state(conn)) == {}
        assert '"violation_count" : 0' in await conn.fetchval("SELECT check_invariants()::text")
        await until(conn, f"({LEFT_BEHIND}) = 0", installation.log)
        assert await conn.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted") == 0
    finally:
        await conn.close()


def assert_it_was_worth_it(traffic: Traffic, rounds: int) -> None:
    """Much was done, and some did not learn at once what came of it."""
    told = [told for intent in traffic.history.intents for told in intent.told]
    assert sum(bool(intent.acknowledged) for intent in traffic.history.intents) > 5 * rounds
    assert any(each.is_unknown for each in told)
    assert all(intent.told[-1].is_final for intent in traffic.history.intents)
    assert not [each for each in told if each.status == 500]
