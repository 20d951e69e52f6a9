"""docs/webhooks.md says what is so."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg

from tests.factories import Factory, change_booking
from tests.webhooks.support import FastClock, Receiver, add_endpoint

DOCS = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text()


async def test_the_example_of_a_receiver_verifies_and_takes_each_event_once(
    conn: asyncpg.Connection, make: Factory, clock: FastClock, receiver: Receiver
) -> None:
    names: dict[str, Any] = {"print": lambda *_: None}
    exec(DOCS.split("```python\n")[1].split("```")[0], names)  # noqa: S102 - our own page
    receive: Callable[..., int] = names["receive"]
    endpoint = await add_endpoint(conn, receiver.url, "booking.created", "booking.cancelled")
    booking_id = await make.booking()
    await change_booking(conn, "cancel_booking", booking_id, 1)
    await clock.run(timedelta(minutes=1))
    seen: set[str] = set()
    newest: dict[str, int] = {}

    came = [*receiver.received, *receiver.received]
    statuses = {receive(dict(r.headers), r.body, endpoint.secret, seen, newest) for r in came}
    forged = receive(dict(came[0].headers), came[0].body + b" ", endpoint.secret, set(), {})

    assert (statuses, forged) == ({204}, 400)
    assert (seen, newest) == (set(receiver.ids), {str(booking_id): 2})
