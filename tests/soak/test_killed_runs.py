"""A thousand rounds of twenty overlapping runs, any of which is killed at any point: each effect happens once."""

import os

import asyncpg
import pytest

from app.jobs.processor import ANSWER_LIMIT
from app.settings import Settings
from tests.jobs.support import EFFECTS
from tests.jobs.victims import (
    assert_each_effect_happened_once,
    assert_some_died_at_work,
    do_the_rest,
    kill_again_and_again,
    victims_of,
)

ROUNDS = int(os.environ.get("SOAK_ROUNDS", "1000"))
CALLS, DEATHS, JOBS_A_ROUND = 20, 4, 50
ADD_JOBS = "SELECT enqueue_job('effect', p_max_attempts => 1000) FROM generate_series(1, $1::integer)"


@pytest.mark.timeout(3600)
async def test_twenty_overlapping_runs_of_which_any_is_killed_settle_every_job_and_have_each_effect_once(
    dsn: str, conn: asyncpg.Connection, settings: Settings
) -> None:
    await conn.execute(EFFECTS)

    async def add_jobs() -> None:
        await conn.execute(ADD_JOBS, JOBS_A_ROUND)

    async with victims_of(dsn) as victims:
        await kill_again_and_again(victims, conn, add_jobs, rounds=ROUNDS, calls=CALLS, deaths=DEATHS)
        await do_the_rest(victims, conn, settings)

    await assert_each_effect_happened_once(conn, ROUNDS * JOBS_A_ROUND)
    await assert_some_died_at_work(conn)
    assert 0 < max(victims.answers, default=0) < ANSWER_LIMIT, len(victims.answers)
