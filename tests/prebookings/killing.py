"""Workers that are killed while they book outside, and what must hold of what they wanted."""

import asyncio
import random
from collections import Counter
from datetime import timedelta
from uuid import UUID

from tests.jobs.support import lose_leases
from tests.jobs.victims import victims_of
from tests.prebookings.support import BOXING, KEY, YOGA, Gym, now
from tests.sql.support import call_value

PREBOOKINGS_A_ROUND = 5
# within which a worker dies, and some of what it has opens
LIFE_SECONDS = 0.4
LATENCY = 0.01
# each fault, and whether it is played once the booking is made: nobody says `full` of what it has booked
FAULTS = [(kind, after) for kind in ("reset", "error", "html") for after in (False, True)]
FAULTS += [("full", False), ("too_many", False)]


async def kill_workers(gym: Gym, dsn: str, rounds: int, chance: random.Random) -> list[UUID]:
    """So many workers one after the other, each killed at any point of its work; then one that lives does the rest.

    Answers what was wanted in all.
    """
    customers = [f"c{n}" for n in range(PREBOOKINGS_A_ROUND)]
    for ref in customers:
        await gym.let_in(ref)
    wanted: list[UUID] = []
    async with victims_of(dsn, "tests.prebookings.process", KEY) as victims:
        for turn in range(rounds):
            kind, after = chance.choice(FAULTS)
            await gym.simulator.fail(kind, after=after)
            for ref in customers:
                opens_at = now() + timedelta(seconds=chance.uniform(-LIFE_SECONDS, LIFE_SECONDS))
                places = (YOGA | {"class": f"yoga {turn} {ref}"}, BOXING | {"class": f"boxing {turn} {ref}"})
                wanted.append(await gym.prebook(*places, ref=ref, opens_at=opens_at))
            await victims.begin()
            await asyncio.sleep(chance.uniform(0, LIFE_SECONDS))
            victims.kill()
            # a lease is over long after whatever its holder had sent was answered
            await asyncio.sleep(10 * LATENCY)
            await lose_leases(gym.conn)
    await do_the_rest(gym)
    return wanted


async def do_the_rest(gym: Gym) -> None:
    """Try again what is left until nothing is, and sweep up what nobody tries any more."""
    await gym.try_again(times=6)
    await call_value(gym.conn, "sweep_prebookings", p_actor="{}", p_limit=10_000, p_now=now() + timedelta(minutes=10))


async def assert_nothing_is_double_and_nothing_is_left(gym: Gym, wanted: list[UUID]) -> None:
    """Each has ended; what succeeded is booked once, what failed is not, and of what is not known a person is told."""
    booked = Counter(UUID(made["key"].partition(":")[0]) for made in await gym.simulator.bookings())
    ended = await gym.conn.fetch("SELECT id, status, needs_attention FROM prebookings")
    assert {row["id"] for row in ended} == set(wanted)
    for row in ended:
        match row["status"]:
            case "succeeded":
                assert booked[row["id"]] == 1, (row, booked[row["id"]])
            case "failed":
                assert booked[row["id"]] <= row["needs_attention"], (row, booked[row["id"]])
            case status:
                raise AssertionError(status)


async def assert_some_died_at_work(gym: Gym) -> None:
    """Else nothing was proven: jobs were lost, and of some of them a request may have left."""
    lost = "SELECT count(*) FROM job_attempts WHERE outcome = 'lease_expired'"
    assert await gym.conn.fetchval(lost) > 0
    assert (await gym.statuses()).get("succeeded", 0) > 0
