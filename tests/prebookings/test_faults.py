"""A prebooking at a provider that does not behave: how it ends, why, and how often the provider was asked."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.adapters.support import Canned, http, plain
from tests.prebookings.support import BOXING, SPINNING, YOGA, Gym, now

# the faults after which nobody knows
UNCLEAR = ["hang", "reset", "error", "html", "huge", "drip"]
BOOKED = ("succeeded", None, False)
WAITS = ("executing", None, False)


@pytest.mark.parametrize("kind", UNCLEAR)
async def test_an_answer_that_is_lost_is_looked_up_and_it_was_booked(gym: Gym, kind: str) -> None:
    await gym.simulator.fail(kind, after=True)
    prebooking_id = await gym.prebook()

    await gym.work()

    assert await gym.end_of(prebooking_id) == BOOKED
    assert await gym.findings(prebooking_id) == ["booked"]
    assert (len(await gym.asked()), await gym.booked()) == (1, ["yoga"])
    assert (await gym.read(prebooking_id))["confirmation"] == "SIM-0001"


@pytest.mark.parametrize("kind", UNCLEAR)
async def test_an_answer_that_is_lost_is_looked_up_and_what_is_absent_is_asked_for_again(gym: Gym, kind: str) -> None:
    await gym.simulator.fail(kind)
    prebooking_id = await gym.prebook()

    await gym.work()
    assert (await gym.end_of(prebooking_id), len(await gym.asked())) == (WAITS, 1)
    await gym.try_again()

    assert await gym.end_of(prebooking_id) == BOOKED
    assert await gym.findings(prebooking_id) == ["absent", "booked"]
    assert (len(await gym.asked()), await gym.booked()) == (2, ["yoga"])


@pytest.mark.parametrize(
    ("fault", "reason", "detail", "requests"),
    [
        ({"kind": "full"}, "full", "status 409: This class is full.", 1),
        ({"kind": "expired"}, "bad_credentials", "status 401: The session has ended.", 1),
        (
            {"kind": "redirect", "location": "http://elsewhere.example/"},
            "refused",
            "status 307: a redirect to another host, which was not followed",
            1,
        ),
        ({"kind": "error", "on": "login"}, "unavailable", "status 500: no rule fits: Something broke.", 0),
        ({"kind": "hang", "on": "login"}, "unavailable", "no answer in time", 0),
        ({"kind": "reset"}, "absent", "status 404", 4),
        ({"kind": "error"}, "absent", "status 404", 4),
    ],
)
async def test_a_fault_that_stays_is_a_reason_that_a_person_understands(
    gym: Gym, fault: dict[str, Any], reason: str, detail: str, requests: int
) -> None:
    await gym.simulator.fail(**fault, times=100)
    prebooking_id = await gym.prebook()

    await gym.work()
    await gym.try_again(times=4)

    assert await gym.end_of(prebooking_id) == ("failed", reason, False)
    assert (await gym.read(prebooking_id))["detail"] == detail
    assert (len(await gym.asked()), await gym.booked()) == (requests, [])


async def test_what_is_full_gives_way_to_the_next_preference(gym: Gym) -> None:
    await gym.simulator.fail("full")
    await gym.simulator.fail("redirect", location="http://elsewhere.example/")
    prebooking_id = await gym.prebook(YOGA, BOXING, SPINNING)

    await gym.work()

    assert await gym.end_of(prebooking_id) == BOOKED
    told = await gym.read(prebooking_id)
    assert [(attempt["target"], attempt["finding"]) for attempt in told["attempts"]] == [
        (YOGA, "full"),
        (BOXING, "refused"),
        (SPINNING, "booked"),
    ]
    assert (told["booked_target"], await gym.booked()) == (SPINNING, ["spinning"])
    assert [request["key"] for request in await gym.asked()] == [f"{prebooking_id}:{choice}" for choice in (1, 2, 3)]


async def test_the_reason_is_the_first_targets_where_none_is_to_be_had(gym: Gym) -> None:
    await gym.simulator.fail("redirect", location="http://elsewhere.example/")
    await gym.simulator.fail("full")
    prebooking_id = await gym.prebook(YOGA, BOXING)

    await gym.work()

    assert await gym.end_of(prebooking_id) == ("failed", "refused", False)
    assert await gym.findings(prebooking_id) == ["refused", "full"]


async def test_a_preference_is_asked_for_once_though_a_later_one_has_to_wait(gym: Gym) -> None:
    await gym.simulator.fail("full")
    await gym.simulator.fail("error")
    prebooking_id = await gym.prebook(YOGA, BOXING)

    await gym.work()
    await gym.try_again()

    assert await gym.end_of(prebooking_id) == BOOKED
    assert await gym.findings(prebooking_id) == ["full", "absent", "booked"]


async def test_at_most_three_retries_each_later_than_the_one_before(gym: Gym) -> None:
    await gym.simulator.fail("error", on="login", times=100)
    prebooking_id = await gym.prebook()
    delays = []

    await gym.work()
    for _ in range(3):
        delays.append(await gym.delay())
        await gym.try_again()

    # 10 s, 20 s, 40 s, less up to half at random; the tests' own seconds go from them
    longest = [timedelta(seconds=10 * 2**n) for n in range(3)]
    assert all(most * 0.4 < delay <= most for delay, most in zip(delays, longest, strict=True)), delays
    assert (await gym.job())["status"] == "processed"
    assert await gym.end_of(prebooking_id) == ("failed", "unavailable", False)
    assert len(await gym.simulator.requests("login")) == 4


@pytest.mark.parametrize("kind", ["too_many", "too_many_until"])
async def test_who_is_told_to_wait_waits_as_long_and_it_is_no_try(gym: Gym, kind: str) -> None:
    await gym.simulator.fail(kind)
    prebooking_id = await gym.prebook()

    await gym.work()
    assert timedelta(seconds=4) < await gym.delay() <= timedelta(seconds=8)
    assert ((await gym.job())["attempt"], len(await gym.asked())) == (0, 1)
    await gym.try_again()

    assert await gym.end_of(prebooking_id) == BOOKED
    assert await gym.findings(prebooking_id) == ["rate_limited", "booked"]


async def test_who_is_told_to_wait_until_the_rush_is_over_tries_again_three_times(gym: Gym) -> None:
    await gym.simulator.fail("too_many", times=100)
    prebooking_id = await gym.prebook()
    # seven seconds more would be half a minute after the opening
    await gym.conn.execute("UPDATE prebookings SET opens_at = now() - interval '25 seconds'")
    await gym.work()
    assert (await gym.job())["attempt"] == 1
    await gym.try_again(times=4)

    assert await gym.end_of(prebooking_id) == ("failed", "rate_limited", False)
    assert len(await gym.asked()) == 4


async def test_a_provider_that_says_come_at_once_is_not_stormed(gym: Gym) -> None:
    prebooking_id = await gym.prebook()
    async with Canned(http(429, Retry_After="0")) as server:
        await gym.put(json.dumps(plain(server.url)))

        await gym.work()

    # three seconds in one go, with a quarter between two
    assert (await gym.end_of(prebooking_id), (await gym.job())["status"]) == (WAITS, "pending")
    assert 1 < len(server.received) <= 13


async def test_a_provider_that_opens_late_is_asked_until_it_does(gym: Gym) -> None:
    await gym.simulator.fail("full")
    await gym.simulator.behave(opens_at=_opening(timedelta(seconds=1)))
    prebooking_id = await gym.prebook(YOGA, BOXING)

    await gym.work()

    assert await gym.end_of(prebooking_id) == BOOKED
    findings = await gym.findings(prebooking_id)
    assert (findings[0], set(findings[1:-1]), findings[-1]) == ("full", {"not_open_yet"}, "booked")


async def test_a_provider_that_does_not_open_is_given_up(gym: Gym) -> None:
    await gym.simulator.behave(opens_at=_opening(timedelta(days=1)))
    prebooking_id = await gym.prebook()
    await gym.conn.execute("UPDATE prebookings SET opens_at = now() - interval '1 minute'")

    await gym.work()

    assert await gym.end_of(prebooking_id) == ("failed", "not_open_yet", False)
    assert len(await gym.asked()) == 1


def _opening(after: timedelta) -> float:
    return (now() + after).timestamp()


async def lose(gym: Gym) -> UUID:
    """A prebooking whose answer is lost, and which nobody can look up."""
    await gym.simulator.fail("reset", after=True)
    await gym.simulator.fail("error", on="lookup", times=100)
    return await gym.prebook()


async def test_what_cannot_be_looked_up_is_sent_again_under_its_key(gym: Gym) -> None:
    prebooking_id = await lose(gym)

    await gym.work()
    assert await gym.findings(prebooking_id) == ["unknown"]
    await gym.try_again()

    assert await gym.end_of(prebooking_id) == BOOKED
    assert [request["key"] for request in await gym.asked()] == [f"{prebooking_id}:1"] * 2
    assert await gym.booked() == ["yoga"]


async def test_what_cannot_be_looked_up_is_for_a_person_where_no_key_is_honoured(gym: Gym) -> None:
    await gym.forget_keys()
    prebooking_id = await lose(gym)

    await gym.work()
    await gym.try_again(times=4)

    assert await gym.end_of(prebooking_id) == ("failed", "unknown", True)
    assert (len(await gym.asked()), await gym.booked()) == (1, ["yoga"])
    assert len(await gym.simulator.requests("lookup")) == 4


async def test_what_no_lookup_is_described_for_is_for_a_person_where_no_key_is_honoured(gym: Gym) -> None:
    await gym.forget_keys(lookup=None)
    await gym.simulator.fail("reset")
    prebooking_id = await gym.prebook()

    await gym.work()
    await gym.try_again(times=4)

    assert await gym.end_of(prebooking_id) == ("failed", "unknown", True)
    assert (await gym.read(prebooking_id))["detail"] == "the provider's settings have no lookup"
    assert len(await gym.asked()) == 1


async def test_what_can_be_looked_up_later_was_booked_and_is_not_sent_again(gym: Gym) -> None:
    await gym.forget_keys()
    await gym.simulator.fail("reset", after=True)
    await gym.simulator.fail("hang", on="lookup")
    prebooking_id = await gym.prebook()

    await gym.work()
    assert await gym.findings(prebooking_id) == ["unknown"]
    await gym.try_again()

    assert await gym.end_of(prebooking_id) == BOOKED
    assert (len(await gym.asked()), await gym.booked()) == (1, ["yoga"])


async def test_a_provider_that_books_after_we_gave_up_waiting_books_once(gym: Gym) -> None:
    await gym.forget_keys()
    await gym.simulator.fail("hang")
    prebooking_id = await gym.prebook()

    await gym.work()
    assert await gym.findings(prebooking_id) == ["absent"]
    await gym.book(prebooking_id)
    await gym.try_again()

    assert await gym.end_of(prebooking_id) == BOOKED
    # that of ours, and the test's
    assert (len(await gym.asked()), await gym.booked()) == (2, ["yoga"])
