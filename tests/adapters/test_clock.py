"""A provider's clock against ours: the truth lies within what is said of it."""

import asyncio
import math
import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.adapters.adapter import Clock
from app.adapters.clock import (
    ENOUGH,
    KEEP_SECONDS,
    PROBES,
    ROUNDING,
    SECONDS,
    Measurement,
    Reading,
    SharedClocks,
    both,
    bounds,
    measure,
)
from tests.adapters.support import Canned, Simulator, adapter_of, http, plain

NOW = 1_900_000_000.0
LATENCIES = st.lists(st.tuples(st.floats(0, 0.5), st.floats(0, 0.5)), min_size=PROBES, max_size=PROBES)
QUICK = st.lists(st.tuples(st.floats(0.0001, 0.001), st.floats(0.0001, 0.001)), min_size=PROBES, max_size=PROBES)
AHEAD = st.floats(-5000, 5000)
PHASE = st.floats(0, 1)
STEPS = st.sampled_from([1.0, 0.001])


def measured(ahead: float, latencies: list[tuple[float, float]], step: float, phase: float) -> tuple[Clock, int, float]:
    """What is made of a clock that is so far ahead, behind a line that is so slow; with how many looks, in how long."""
    began = sent = NOW + phase
    measurement = Measurement(began + SECONDS)
    for looks, (there, back) in enumerate(latencies, start=1):
        received = sent + there + back
        shown = math.floor((sent + there + ahead) / step) * step
        at = measurement.take(Reading(sent, received, shown, step), received)
        assert measurement.clock is not None
        assert measurement.clock.low <= ahead <= measurement.clock.high
        if at is None:
            return measurement.clock, looks, received - began
        sent = max(at, received)
    pytest.fail("it did not end")


@given(AHEAD, LATENCIES, STEPS, PHASE)
@example(0.0, [(0.0, 0.0)] * PROBES, 1.0, 0.0)
@example(0.5, [(0.0, 0.5)] * PROBES, 1.0, 0.5)
def test_the_truth_lies_within(ahead: float, latencies: list[tuple[float, float]], step: float, phase: float) -> None:
    _, looks, seconds = measured(ahead, latencies, step, phase)

    assert looks <= PROBES
    assert seconds <= SECONDS + sum(map(sum, latencies))


@given(AHEAD, QUICK, PHASE)
def test_a_clock_of_whole_seconds_is_known_to_a_few_hundredths_behind_a_quick_line(
    ahead: float, latencies: list[tuple[float, float]], phase: float
) -> None:
    clock, _, seconds = measured(ahead, latencies, 1.0, phase)

    assert clock.high - clock.low <= 1.5 * ENOUGH
    assert seconds <= SECONDS


@given(AHEAD, QUICK, PHASE)
def test_a_clock_of_milliseconds_is_known_at_the_first_look(
    ahead: float, latencies: list[tuple[float, float]], phase: float
) -> None:
    assert measured(ahead, latencies, 0.001, phase)[1] == 1


def test_one_look_bounds_the_clock_by_its_steps_and_the_way() -> None:
    assert bounds(Reading(100.0, 100.5, 103.0, 1.0)) == Clock(2.5 - ROUNDING, 4.0 + ROUNDING)


@pytest.mark.parametrize("shown", [0.0, NOW + 1e6, NOW - 1e6, math.inf, math.nan, 1e300])
def test_a_time_of_another_day_is_none(shown: float) -> None:
    assert bounds(Reading(NOW, NOW + 0.1, shown, 1.0)) is None


def test_two_looks_that_contradict_each_other_are_no_clock() -> None:
    assert both(Clock(1, 2), Clock(2, 3)) == Clock(2, 2)
    assert both(Clock(1, 2), Clock(2.1, 3)) is None


@pytest.mark.parametrize("ahead", [-3.0, 0.0, 3.0])
@pytest.mark.parametrize(
    "clock", [{"header": "Date", "unit": "date"}, {"header": "X-Server-Time-Ms", "unit": "milliseconds"}]
)
async def test_the_simulators_clock_is_found(simulator: Simulator, ahead: float, clock: dict[str, str]) -> None:
    await simulator.behave(clock_ahead=ahead)

    async with adapter_of({**simulator.settings, "clock": {"method": "GET", "path": "/status", **clock}}) as adapter:
        found = await adapter.clock()

    assert found is not None
    assert found.low <= ahead <= found.high
    assert found.high - found.low < 1
    assert len(await simulator.requests("status")) <= PROBES


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Date": "soon"},
        {"Date": ""},
        {"Date": "Wed, 32 May 2030 10:00:00 GMT"},
        {"Date": "Wed, 01 May 1991 10:00:00 GMT"},
        {"Date": "Wed, 01 May 99999999999 10:00:00 GMT"},
    ],
)
async def test_a_header_that_shows_no_time_is_no_clock(headers: dict[str, str]) -> None:
    async with Canned(http(200, **headers)) as provider, adapter_of(plain(provider.url)) as adapter:
        adapter_clock = await adapter.clock()

    assert adapter_clock is None
    assert len(provider.received) == 1


@pytest.mark.parametrize("text", ["-1", "1e12", "12.5", "٣", "9" * 16, " "])
async def test_milliseconds_that_are_no_number_are_no_clock(text: str) -> None:
    async with Canned(http(200) if not text.isascii() else http(200, X_Ms=text)) as provider:
        clock = {"header": "X-Ms", "unit": "milliseconds"}
        async with adapter_of({**plain(provider.url), "clock": clock}) as adapter:
            assert await adapter.clock() is None


async def test_an_answer_that_somebody_kept_is_no_clock() -> None:
    now = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())
    async with Canned(http(200, Date=now, Age="30")) as provider, adapter_of(plain(provider.url)) as adapter:
        assert await adapter.clock() is None


@pytest.mark.parametrize("kind", ["hang", "reset", "drip"])
async def test_a_provider_that_does_not_answer_shows_no_clock(simulator: Simulator, kind: str) -> None:
    await simulator.fail(kind, on="status")

    async with adapter_of(simulator.settings) as adapter:
        assert await adapter.clock() is None


async def test_a_clock_that_goes_backwards_is_none() -> None:
    shown = iter([NOW + 10, NOW])
    anchor = time.time() - time.monotonic()

    async def look() -> Reading:
        now = time.monotonic()
        return Reading(now, now + 0.5, next(shown) - NOW + now + anchor, 0.001)

    assert await measure(look) is None


class Measured:
    """An adapter's clock, and how often it was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self) -> Clock | None:
        self.asked += 1
        await asyncio.sleep(0)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        found: Clock | None = answer
        return found


async def test_a_hundred_who_ask_at_once_share_one_measurement() -> None:
    clocks, measured_once = SharedClocks(), Measured(Clock(1, 2))

    found = await asyncio.gather(*(clocks.get("gym", measured_once) for _ in range(100)))

    assert set(found) == {Clock(1, 2)}
    assert measured_once.asked == 1


async def test_a_shared_clock_is_measured_again_in_time_and_for_each_provider() -> None:
    now = 0.0
    clocks, gym, pool = SharedClocks(lambda: now), Measured(Clock(1, 2), None), Measured(Clock(3, 4))

    first = await clocks.get("gym", gym), await clocks.get("pool", pool)
    now = KEEP_SECONDS
    second = await clocks.get("gym", gym)
    now = 2 * KEEP_SECONDS + 0.1
    third = await clocks.get("gym", gym), await clocks.get("gym", gym)

    assert first == (Clock(1, 2), Clock(3, 4))
    assert second == Clock(1, 2)
    assert third == (None, None)
    assert (gym.asked, pool.asked) == (2, 1)


async def test_a_measurement_that_fails_is_anothers_turn() -> None:
    clocks, measured_twice = SharedClocks(), Measured(OSError(), Clock(1, 2))

    found = await asyncio.gather(*(clocks.get("gym", measured_twice) for _ in range(2)), return_exceptions=True)

    assert found[1] == Clock(1, 2)
