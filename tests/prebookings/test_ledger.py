"""What is about to be sent is on record before it is, so that a crash leaves a question and never a second booking."""

from uuid import UUID

import pytest

from app.adapters.http_json import HttpJsonAdapter
from tests.adapters.support import until
from tests.jobs.support import lose_leases
from tests.prebookings.support import Gym
from tests.prebookings.test_faults import BOOKED


async def crash(gym: Gym, *, after: bool) -> UUID:
    """A prebooking whose request arrived, and whose process was gone before the answer; `after` it was booked."""
    await gym.simulator.fail("hang", after=after)
    prebooking_id = await gym.prebook()
    runner = gym.runner()
    await runner.read_queues()
    await runner.fill()

    async def has_arrived() -> bool:
        return bool(await gym.asked())

    await until(has_arrived)
    assert await gym.findings(prebooking_id) == [None]
    # what comes of it is never settled
    await runner.stop(0, 1)
    assert await lose_leases(gym.conn) == 1
    return prebooking_id


@pytest.mark.parametrize("honours_keys", [True, False])
async def test_a_crash_after_sending_is_looked_up_and_it_was_booked(gym: Gym, honours_keys: bool) -> None:
    if not honours_keys:
        await gym.forget_keys()
    prebooking_id = await crash(gym, after=True)

    await gym.work()

    assert await gym.end_of(prebooking_id) == BOOKED
    assert await gym.findings(prebooking_id) == ["booked"]
    assert (len(await gym.asked()), await gym.booked()) == (1, ["yoga"])


@pytest.mark.parametrize("honours_keys", [True, False])
async def test_a_crash_after_sending_is_looked_up_and_what_is_absent_is_sent_again(
    gym: Gym, honours_keys: bool
) -> None:
    if not honours_keys:
        await gym.forget_keys()
    prebooking_id = await crash(gym, after=False)

    await gym.work()

    assert await gym.end_of(prebooking_id) == BOOKED
    assert await gym.findings(prebooking_id) == ["absent", "booked"]
    assert (len(await gym.asked()), await gym.booked()) == (2, ["yoga"])


async def test_a_crash_after_sending_is_for_a_person_where_nobody_can_tell(gym: Gym) -> None:
    await gym.forget_keys()
    prebooking_id = await crash(gym, after=True)
    await gym.simulator.fail("error", on="lookup", times=100)

    await gym.work()
    await gym.try_again(times=4)

    assert await gym.end_of(prebooking_id) == ("failed", "unknown", True)
    assert (len(await gym.asked()), await gym.booked()) == (1, ["yoga"])


async def test_a_booking_that_is_on_record_is_not_asked_for_again(gym: Gym) -> None:
    await gym.forget_keys()
    prebooking_id = await gym.prebook()
    job = await gym.conn.fetchrow("SELECT * FROM claim_jobs('dead', 'provider:gym', 1, '1 minute')")
    assert job
    # it died when the answer was on record, and the prebooking's end was not
    await gym.conn.execute("SELECT begin_prebooking('{}', $1)", prebooking_id)
    begin = "SELECT begin_attempt($1, 1, $2, $3)"
    attempt_id = await gym.conn.fetchval(begin, prebooking_id, job["id"], job["lease_token"])
    await gym.conn.execute("SELECT end_attempt($1, 'booked', p_confirmation => 'SIM-7')", attempt_id)
    await lose_leases(gym.conn)

    await gym.work()

    assert await gym.end_of(prebooking_id) == BOOKED
    assert (await gym.read(prebooking_id))["confirmation"] == "SIM-7"
    assert await gym.simulator.requests("login") == []


async def test_nothing_is_sent_by_who_has_lost_the_job(gym: Gym, monkeypatch: pytest.MonkeyPatch) -> None:
    prebooking_id = await gym.prebook()
    log_in = HttpJsonAdapter._log_in  # noqa: SLF001 - where it stands still

    async def slow(*arguments: object) -> object:
        session = await log_in(*arguments)  # type: ignore[arg-type]
        await lose_leases(gym.conn)
        return session

    monkeypatch.setattr(HttpJsonAdapter, "_log_in", slow)
    tally = await gym.work()

    assert tally["stale"] == 4
    assert (await gym.asked(), await gym.findings(prebooking_id)) == ([], [])


async def test_nothing_is_sent_while_it_cannot_be_put_on_record(gym: Gym) -> None:
    prebooking_id = await gym.prebook()
    await gym.conn.execute("ALTER TABLE prebooking_attempts ADD CONSTRAINT nothing CHECK (false) NOT VALID")

    await gym.work()
    assert await gym.asked() == []
    await gym.conn.execute("ALTER TABLE prebooking_attempts DROP CONSTRAINT nothing")
    await gym.try_again()

    assert await gym.end_of(prebooking_id) == BOOKED
    assert len(await gym.asked()) == 1
