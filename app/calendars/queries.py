"""One call a function of sql/: bookings for a calendar, and the feeds that show them to whoever has their address."""

import secrets
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from asyncpg import Record

from app.database import Database
from app.security import Actor, hash_token

TOKEN_BYTES = 32


class NewFeed(NamedTuple):
    """A fresh token, which is seen this one time, and its feed as JSON."""

    token: str
    body: str


class Feed(NamedTuple):
    """The calendar behind a token; without bookings also where the caller has it under that ETag already."""

    is_of_resource: bool
    etag: str
    bookings: list[Record]


async def calendar_bookings(
    db: Database, *, resource_id: UUID | None = None, customer_ref: str | None = None
) -> list[Record]:
    """The bookings of a resource, or of a customer, from a month ago on. Raises resource_not_found."""
    return await db.call("calendar_bookings", p_resource_id=resource_id, p_customer_ref=customer_ref)


async def create_calendar_feed(
    db: Database, actor: Actor, *, resource_id: UUID | None = None, customer_ref: str | None = None
) -> NewFeed:
    """A feed of a resource, or of a customer. Only the token's hash is stored.

    Raises resource_not_found, too_many_feeds.
    """
    token = secrets.token_urlsafe(TOKEN_BYTES)
    body = await db.call_value(
        "create_calendar_feed",
        p_actor=actor.json(),
        p_token_hash=hash_token(token),
        p_resource_id=resource_id,
        p_customer_ref=customer_ref,
    )
    return NewFeed(token, body)


async def list_calendar_feeds(db: Database, *, resource_id: UUID | None = None, customer_ref: str | None = None) -> str:
    """The live feeds of a resource, or of a customer, as JSON. Raises resource_not_found."""
    return str(await db.call_value("list_calendar_feeds", p_resource_id=resource_id, p_customer_ref=customer_ref))


async def revoke_calendar_feed(db: Database, actor: Actor, feed_id: UUID) -> bool:
    """Whether there was such a feed to the actor, who has ended it."""
    return bool(await db.call_value("revoke_calendar_feed", p_actor=actor.json(), p_feed_id=feed_id))


async def read_calendar_feed(db: Database, token: str, known: Sequence[str]) -> Feed | None:
    """The calendar behind the token; None where it opens nothing."""
    rows = await db.call("read_calendar_feed", p_token_hash=hash_token(token), p_etags=known)
    if not rows:
        return None
    bookings = [row for row in rows if row["booking_id"]]
    return Feed(rows[0]["is_of_resource"], rows[0]["etag"], bookings)
