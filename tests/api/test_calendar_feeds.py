"""Calendar feeds over HTTP: whoever has the secret address reads the calendar, until it is taken back."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx2
import pytest
from icalendar import Calendar
from pydantic import HttpUrl, SecretStr

from app.main import create_app
from app.rate_limits import MAX_FAILURES
from app.settings import Settings
from tests.api.calls import assert_problem, book, cancel
from tests.conftest import client_of
from tests.credentials.test_canary import all_rows
from tests.factories import TOMORROW, Factory, make_api_key
from tests.live import LiveServer, live_server
from tests.unit.test_tokens import SECRET, signed

PUBLIC_URL = "https://book.example.com/holdfast"
OF_ANN = "/v1/customers/ann/calendar-feeds"
LIMIT = 20


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """An installation that knows its address, and takes customers' tokens."""
    return settings.model_copy(update={"public_url": HttpUrl(PUBLIC_URL), "jwt_secret": SecretStr(SECRET)})


@pytest.fixture
async def ann(app: Any) -> AsyncIterator[httpx2.AsyncClient]:
    """The customer ann, with a token of her own."""
    async with client_of(app, signed(SECRET, sub="ann")) as client:
        yield client


async def subscribe(client: httpx2.AsyncClient, path: str = OF_ANN) -> dict[str, str]:
    """A new feed, with the `path` at which it is read."""
    answer = await client.post(path)
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    made: dict[str, str] = answer.json()
    assert made.keys() == {"id", "url", "created_at"}
    assert made["url"].startswith(f"{PUBLIC_URL}/calendars/")
    return made | {"path": made["url"].removeprefix(PUBLIC_URL)}


async def revoke(client: httpx2.AsyncClient, feed: dict[str, str]) -> httpx2.Response:
    return await client.delete(f"/v1/calendar-feeds/{feed['id']}")


def titles(answer: httpx2.Response) -> list[str]:
    """The titles of the events, as a calendar reads them."""
    assert answer.status_code == 200, answer.text
    read = Calendar.from_ical(answer.content)
    assert read.errors == []
    return [str(event["summary"]) for event in read.events]


async def test_a_feed_is_the_calendar_that_its_owner_reads_with_a_token(
    admin: httpx2.AsyncClient, ann: httpx2.AsyncClient, public: httpx2.AsyncClient, make: Factory
) -> None:
    court = await make.resource("Court 1")
    for ref in ("ann", "bob"):
        await book(admin, await make.slot(court), customer={"ref": ref, "name": f"{ref} Archer"})
    hers, its = await subscribe(ann), await subscribe(admin, f"/v1/resources/{court}/calendar-feeds")

    of_hers, of_its = await public.get(hers["path"]), await public.get(its["path"])

    assert titles(of_hers) == ["Court 1"]
    assert titles(of_its) == ["ann Archer", "bob Archer"]
    assert of_hers.content == (await ann.get("/v1/customers/ann/calendar.ics")).content
    assert of_its.content == (await admin.get(f"/v1/resources/{court}/calendar.ics")).content


async def test_an_address_is_answered_once_and_is_another_each_time(
    ann: httpx2.AsyncClient, admin: httpx2.AsyncClient, public: httpx2.AsyncClient
) -> None:
    one, other = await subscribe(ann), await subscribe(admin)

    listed = await ann.get(OF_ANN)

    assert listed.json() == {"items": [{name: feed[name] for name in ("id", "created_at")} for feed in (one, other)]}
    assert one["url"] != other["url"]
    # 256 bits, in letters that no address has to escape
    token = one["path"].removeprefix("/calendars/").removesuffix(".ics")
    assert (len(token), token.replace("-", "").replace("_", "").isalnum()) == (43, True)
    assert [titles(await public.get(feed["path"])) for feed in (one, other)] == [[], []]


async def test_a_calendar_app_asks_again_and_hears_that_nothing_changed_until_something_has(
    ann: httpx2.AsyncClient, admin: httpx2.AsyncClient, public: httpx2.AsyncClient, make: Factory
) -> None:
    booking_id = await make.booking()
    path = (await subscribe(ann))["path"]
    first = await public.get(path)
    known = {"If-None-Match": first.headers["etag"]}

    # some send a parameter of their own, so that nothing between answers from memory
    again = await public.get(f"{path}?t=1", headers=known)
    await cancel(admin, booking_id)
    changed = await public.get(path, headers=known)

    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert (changed.status_code, changed.headers["etag"] != first.headers["etag"]) == (200, True)
    assert first.headers["content-type"].partition(";")[0] == "text/calendar"
    for answer in (first, again, changed):
        assert answer.headers["cache-control"] == "private, no-cache"
        assert answer.headers["x-robots-tag"] == "noindex, nofollow"
        assert answer.headers["referrer-policy"] == "no-referrer"


async def test_what_opens_nothing_is_answered_alike_whatever_it_was(
    ann: httpx2.AsyncClient, admin: httpx2.AsyncClient, public: httpx2.AsyncClient
) -> None:
    revoked, erased = await subscribe(ann), await subscribe(admin, "/v1/customers/zoe/calendar-feeds")
    assert titles(await public.get(revoked["path"])) == []

    assert (await revoke(ann, revoked)).status_code == 204
    done = await admin.post("/v1/customers/zoe/erase", json={"reason": "asked for it"})
    assert done.status_code == 200

    wrong = ["/calendars/x.ics", "/calendars/%00.ics", "/calendars/é.ics", f"/calendars/{'x' * 5000}.ics"]
    answers = [await public.get(path) for path in (revoked["path"], erased["path"], *wrong)]
    told = [assert_problem(answer, 404, "not_found") | {"request_id": None} for answer in answers]
    assert told == [told[0]] * len(told)
    assert len({tuple(name for name, _ in answer.headers.items()) for answer in answers}) == 1
    assert_problem(await revoke(ann, revoked), 404, "not_found")


async def test_a_resources_feed_is_for_admins_alone(
    admin: httpx2.AsyncClient,
    frontend: httpx2.AsyncClient,
    ann: httpx2.AsyncClient,
    public: httpx2.AsyncClient,
    make: Factory,
) -> None:
    path = f"/v1/resources/{await make.resource()}/calendar-feeds"
    feed = await subscribe(admin, path)

    assert_problem(await frontend.post(path), 403, "forbidden")
    assert_problem(await ann.post(path), 401, "unauthorized")
    for client in (frontend, ann):
        assert_problem(await revoke(client, feed), 404, "not_found")
    assert titles(await public.get(feed["path"])) == []
    assert (await revoke(admin, feed)).status_code == 204
    assert_problem(await public.get(feed["path"]), 404, "not_found")


async def test_a_frontend_makes_and_revokes_a_customers_feed(
    frontend: httpx2.AsyncClient, public: httpx2.AsyncClient
) -> None:
    feed = await subscribe(frontend)

    assert titles(await public.get(feed["path"])) == []
    assert (await revoke(frontend, feed)).status_code == 204
    assert_problem(await public.get(feed["path"]), 404, "not_found")
    assert (await frontend.get(OF_ANN)).json() == {"items": []}


async def test_there_are_so_many_feeds_and_no_more(ann: httpx2.AsyncClient) -> None:
    for _ in range(LIMIT):
        feed = await subscribe(ann)

    assert assert_problem(await ann.post(OF_ANN), 409, "too_many_feeds")["limit"] == LIMIT
    await revoke(ann, feed)
    await subscribe(ann)


async def test_an_installation_that_does_not_know_its_address_makes_none(
    settings: Settings, conn: asyncpg.Connection
) -> None:
    bare = create_app(settings.model_copy(update={"public_url": None}))
    async with bare.router.lifespan_context(bare), client_of(bare, signed(SECRET, sub="ann")) as client:
        assert_problem(await client.post(OF_ANN), 503, "not_configured")

    assert await conn.fetchval("SELECT count(*) FROM calendar_feeds") == 0


async def test_guessing_is_slowed_and_takes_nobody_with_it(ann: httpx2.AsyncClient, public: httpx2.AsyncClient) -> None:
    path = (await subscribe(ann))["path"]

    guesses = [await public.get(f"/calendars/{n}.ics") for n in range(MAX_FAILURES + 1)]

    assert [answer.status_code for answer in guesses[:-1]] == [404] * MAX_FAILURES
    assert_problem(guesses[-1], 429, "rate_limited")
    assert titles(await public.get(path)) == []


async def test_reading_counts_for_the_address_it_comes_from(settings: Settings, conn: asyncpg.Connection) -> None:
    app = create_app(settings.model_copy(update={"rate_limit_read": 1}))
    async with (
        app.router.lifespan_context(app),
        client_of(app, await make_api_key(conn, "admin")) as admin,
        client_of(app) as public,
    ):
        path = (await subscribe(admin))["path"]

        assert titles(await public.get(path)) == []
        assert_problem(await public.get(path), 429, "rate_limited")


async def raw_get(server: LiveServer, path: str) -> tuple[str, str]:
    """The head and the body that a client gets who says where and what, and nothing else."""
    address = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    return head, body


async def test_an_address_works_for_whoever_has_it_and_is_found_nowhere(
    dsn: str, conn: asyncpg.Connection, make: Factory
) -> None:
    await make.booking(await make.slot(starts_at=TOMORROW), p_customer='{"ref": "ann", "name": "Ann"}')
    async with (
        live_server(dsn, PUBLIC_URL=PUBLIC_URL, LOG_LEVEL="debug", RATE_LIMIT_READ="1000") as server,
        server.client(await make_api_key(conn, "admin")) as admin,
    ):
        feed = await subscribe(admin)
        token = feed["path"].removeprefix("/calendars/").removesuffix(".ics")
        head, body = await raw_get(server, feed["path"])
        assert head.startswith("HTTP/1.1 200 OK\r\n")
        assert [str(event["summary"]) for event in Calendar.from_ical(body).events] == ["Pitch"]
        metrics = (await admin.get("/metrics")).text
        exported = (await admin.post("/v1/customers/ann/export")).text
        assert (await revoke(admin, feed)).status_code == 204
        assert (await raw_get(server, feed["path"]))[0].startswith("HTTP/1.1 404 ")
        # what nobody foresaw is logged, and not where it was
        await conn.execute("ALTER FUNCTION read_calendar_feed RENAME TO gone")
        assert (await raw_get(server, feed["path"]))[0].startswith("HTTP/1.1 500 ")
        log = server.log

    assert "unexpected error" in log
    rows = await all_rows(conn)
    assert "calendar_feed.created" in rows
    assert [
        what
        for what, text in {"log": log, "rows": rows, "metrics": metrics, "export": exported}.items()
        if token in text
    ] == []
