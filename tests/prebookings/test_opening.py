"""At the instant: by the provider's clock, never before, one after the other where that is asked for, by any run."""

import asyncio
import time
from datetime import datetime, timedelta

import httpx2
import pytest

from app.jobs.processor import ANSWER_LIMIT, process_jobs
from tests.concurrency.rivals import until
from tests.jobs.support import ACTOR
from tests.jobs.test_worker import at_work
from tests.prebookings.support import Gym, now
from tests.prebookings.test_faults import BOOKED

# Far below what a call a minute would be late, and far above what a busy machine stops for: `make bench` measures.
LATE = timedelta(seconds=5)
# the time of whole seconds that every web server shows
DATE = {"method": "GET", "path": "/status"}


async def all_succeed(gym: Gym, count: int) -> None:
    """Return when as many prebookings have, with a worker at work."""
    async with at_work(gym.database, gym.settings, *gym.handlers):
        await until(gym.conn, f"(SELECT count(*) FROM prebookings WHERE status = 'succeeded') = {count}")


async def late_by(gym: Gym, opens_at: datetime) -> list[timedelta]:
    """How long after the opening each booking request arrived, by the gym's clock, in the order of arrival."""
    return [timedelta(seconds=request["arrived_at"] - opens_at.timestamp()) for request in await gym.asked()]


@pytest.mark.parametrize(("ahead", "latest"), [(-3.0, LATE), (0.0, LATE), (3.0, timedelta(seconds=2.9))])
async def test_a_request_leaves_at_the_opening_by_a_clock_that_shows_whole_seconds_and_is_wrong(
    gym: Gym, ahead: float, latest: timedelta
) -> None:
    await gym.open(clock=DATE)
    # it is known four seconds before, and a clock that is ahead leaves one of them to measure it in
    opens_at = now() + timedelta(seconds=4.2 + max(ahead, 0) / 6)
    await gym.simulator.behave(clock_ahead=ahead, opens_at=opens_at.timestamp())
    prebooking_id = await gym.prebook(opens_at=opens_at)

    await all_succeed(gym, 1)

    (late,) = await late_by(gym, opens_at)
    assert timedelta(0) <= late < latest
    told = await gym.read(prebooking_id)
    assert (await gym.findings(prebooking_id), told["lateness_ms"] >= 0) == (["booked"], True)


async def test_a_hundred_requests_leave_at_once_and_none_before(gym: Gym) -> None:
    opens_at = now() + timedelta(seconds=5)
    await gym.simulator.behave(opens_at=opens_at.timestamp())
    prebooking_ids = await gym.prebook_many(100, opens_at)

    await all_succeed(gym, 100)

    late = await late_by(gym, opens_at)
    assert (len(late), len(await gym.booked())) == (100, 100)
    assert timedelta(0) <= min(late)
    assert sorted(late)[98] < LATE
    assert await gym.end_of(prebooking_ids[99]) == BOOKED


async def test_staggered_requests_arrive_in_the_order_of_asking(gym: Gym) -> None:
    await gym.open(stagger_ms=50)
    opens_at = now() + timedelta(seconds=2)
    await gym.simulator.behave(opens_at=opens_at.timestamp())
    prebooking_ids = await gym.prebook_many(12, opens_at)
    # who gives it up leaves no gap
    await gym.conn.execute("SELECT cancel_prebooking('{}', $1)", prebooking_ids.pop(3))

    await all_succeed(gym, 11)

    assert [request["key"] for request in await gym.asked()] == [f"{each}:1" for each in prebooking_ids]
    for place, late in enumerate(await late_by(gym, opens_at)):
        assert timedelta(milliseconds=50 * place) <= late < timedelta(milliseconds=50 * place) + LATE


@pytest.mark.parametrize("users", [10, 20])
async def test_a_bounded_run_that_overlaps_the_opening_fires_at_it(gym: Gym, users: int) -> None:
    await gym.open(stagger_ms=50)
    opens_at = now() + timedelta(seconds=3)
    await gym.simulator.behave(opens_at=opens_at.timestamp())
    await gym.prebook_many(users, opens_at)

    report = await process_jobs(gym.database, ACTOR, gym.handlers)

    late = await late_by(gym, opens_at)
    assert (report.processed, await gym.statuses(), len(late)) == (users, {"succeeded": users}, users)
    assert timedelta(0) <= min(late)
    assert max(late) < LATE


async def test_ten_overlapping_calls_execute_ten_prebookings_once_each(gym: Gym, cron: httpx2.AsyncClient) -> None:
    await gym.open(stagger_ms=50)
    await gym.prebook_many(10, now())

    async def call() -> float:
        began = time.monotonic()
        answer = await cron.post("/cron/process-jobs")
        assert answer.status_code == 200, answer.text
        return time.monotonic() - began

    seconds = await asyncio.gather(*(call() for _ in range(10)))

    assert (await gym.statuses(), len(await gym.asked()), len(await gym.booked())) == ({"succeeded": 10}, 10, 10)
    assert max(seconds) < ANSWER_LIMIT


async def test_a_call_whose_provider_hangs_answers_in_time_and_the_next_one_looks_it_up(
    gym: Gym, cron: httpx2.AsyncClient
) -> None:
    await gym.open(limits={"connect": 3.0, "first_byte": 20.0, "whole": 30.0})
    await gym.simulator.fail("hang", after=True)
    prebooking_id = await gym.prebook()
    began = time.monotonic()

    report = (await cron.post("/cron/process-jobs")).json()
    assert time.monotonic() - began < ANSWER_LIMIT
    assert (report["retried"], await gym.findings(prebooking_id)) == (1, [None])
    await gym.try_again()

    assert await gym.end_of(prebooking_id) == BOOKED
    assert len(await gym.asked()) == 1
