"""The simulator for a test."""

from collections.abc import AsyncIterator

import pytest

from tests.adapters.support import Simulator, running_simulator


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """A provider that nobody has booked at yet."""
    async with running_simulator() as running:
        yield running
