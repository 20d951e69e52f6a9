"""A hundred who follow, hang up and come back are told five thousand changes by sixteen writers, each once."""

from tests.concurrency.followers import WRITERS, crowd
from tests.conftest import Connect
from tests.factories import Factory


async def test_a_hundred_who_come_and_go_are_told_five_thousand_changes_each_once(
    dsn: str, make: Factory, connect: Connect
) -> None:
    await crowd(dsn, make, connect, subscribers=100, changes=5000 // WRITERS * WRITERS)
