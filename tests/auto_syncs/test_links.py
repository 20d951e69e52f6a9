"""Personal links: whoever has one answers for its owner, and nobody else does."""

import base64
import hashlib
import re
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

import asyncpg
import httpx2
import pytest
from fastapi import FastAPI
from pydantic import HttpUrl, SecretStr, ValidationError

from app.links import Links
from app.main import create_app
from app.settings import Settings
from tests.auto_syncs.conftest import LINK_SECRET, PUBLIC_URL
from tests.conftest import client_of
from tests.sql.auto_syncs import answer, make_crew, read, start, started, step

FUTURE = '[{"starts_at": "2100-06-03T15:00Z", "ends_at": "2100-06-03T16:00Z"}]'
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def participant(sync: Any, ref: str) -> UUID:
    (found,) = [p["id"] for p in sync["participants"] if p["customer_ref"] == ref]
    return UUID(found)


def path_of(links: Links, sync: Any, ref: str = "ann") -> str:
    """The link of a member, without the address of the installation."""
    link = links.to(participant(sync, ref))
    assert link is not None
    return link.removeprefix(PUBLIC_URL)


async def post(client: httpx2.AsyncClient, path: str, **form: Any) -> httpx2.Response:
    return await client.post(path, content=urlencode(form, doseq=True), headers=FORM)


async def test_looking_changes_nothing_and_answering_does(
    public: httpx2.AsyncClient, conn: asyncpg.Connection, links: Links
) -> None:
    sync = await started(conn, p_times=FUTURE)
    path = path_of(links, sync)
    before = await read(conn, sync)
    for _ in range(3):
        page = await public.get(path)
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert await read(conn, sync) == before
    assert "Five-a-side" in page.text
    assert "Org would like to know" in page.text
    assert "Thursday 3 June 2100, 18:00" in page.text

    done = await post(public, path, answer="accepted", time=[sync["times"][0]["id"]])

    assert done.status_code == 200
    assert "Your answer is recorded" in done.text
    mine = (await read(conn, sync))["participants"][0]
    assert (mine["customer_ref"], mine["answer"], mine["times"]) == ("ann", "accepted", [sync["times"][0]["id"]])
    again = await public.get(path)
    assert "Your answer so far" in again.text
    assert " checked" in again.text
    assert "checked" not in page.text.partition("</style>")[2]
    who = "SELECT DISTINCT performed_by_id FROM audit_log WHERE event = 'auto_sync.responded'"
    assert await conn.fetchval(who) == f"link:{mine['id']}"


async def test_an_answer_may_be_changed_by_the_same_link(
    public: httpx2.AsyncClient, conn: asyncpg.Connection, links: Links
) -> None:
    sync = await started(conn, p_times=FUTURE)
    path = path_of(links, sync)
    await post(public, path, answer="accepted", time=[sync["times"][0]["id"]])

    page = await post(public, path, answer="declined", time=[sync["times"][0]["id"]])

    assert "You can\u2019t make it." in page.text
    assert (await read(conn, sync))["participants"][0]["answer"] == "declined"


async def test_the_last_answer_by_link_completes_and_then_the_link_is_gone(
    public: httpx2.AsyncClient, conn: asyncpg.Connection, links: Links
) -> None:
    sync = await start(conn, await make_crew(conn, "ann"))
    path = path_of(links, sync)

    assert "Your answer is recorded" in (await post(public, path, answer="accepted")).text

    assert (await read(conn, sync))["status"] == "completed"
    for page in (await public.get(path), await post(public, path, answer="declined")):
        assert page.status_code == 410
        assert "This is over" in page.text


async def test_a_paused_one_takes_answers_and_says_that_it_is_paused(
    public: httpx2.AsyncClient, conn: asyncpg.Connection, links: Links
) -> None:
    sync = await started(conn)
    await step(conn, sync, "paused")

    assert "It is paused" in (await public.get(path_of(links, sync))).text
    assert (await post(public, path_of(links, sync), answer="declined")).status_code == 200
    assert (await read(conn, sync))["answered"] == 1


@pytest.mark.parametrize(
    "form",
    [
        {"answer": "accepted"},
        {"answer": "accepted", "time": [str(uuid4())]},
        {"answer": "accepted", "time": ["x"]},
        {"answer": "maybe"},
        {},
        {"answer": "accepted", "time": [str(uuid4()) for _ in range(30)]},
    ],
)
async def test_a_form_that_says_nothing_records_nothing(
    public: httpx2.AsyncClient, conn: asyncpg.Connection, links: Links, form: dict[str, Any]
) -> None:
    sync = await started(conn, p_times=FUTURE)

    page = await post(public, path_of(links, sync), **form)

    assert page.status_code == 422
    assert "Nothing has changed" in page.text
    assert (await read(conn, sync))["answered"] == 0


async def test_a_link_that_is_none_of_ours_opens_nothing(
    public: httpx2.AsyncClient, conn: asyncpg.Connection, links: Links, settings: Settings
) -> None:
    sync, other = await started(conn), await start(conn, await make_crew(conn, "ann"))
    path, others = path_of(links, sync), path_of(links, other)
    forged = Links(settings.model_copy(update={"link_secret": SecretStr("another-secret-of-the-same-length-x")}))
    flipped = path[:-1] + ("A" if path[-1] != "A" else "Q")
    # the other's participant under this one's signature
    swapped = others[:30] + path[30:]
    unknown = links.to(uuid4())
    assert unknown
    wrong = [flipped, swapped, path[:-4], path + "AAAA", path_of(forged, sync), "/respond/%00", "/respond/é"]
    for bad in [*wrong, unknown.removeprefix(PUBLIC_URL)]:
        for page in (await public.get(bad), await post(public, bad, answer="declined")):
            assert page.status_code == 404, bad
            assert "This link opens nothing" in page.text
    assert (await read(conn, sync))["answered"] == (await read(conn, other))["answered"] == 0


async def test_who_has_left_has_no_link_any_more(
    public: httpx2.AsyncClient, conn: asyncpg.Connection, links: Links
) -> None:
    sync = await started(conn)
    await conn.execute(
        """UPDATE crew_members m SET left_at = now()
        FROM customers c WHERE c.id = m.customer_id AND c.ref = 'ann'"""
    )

    assert (await public.get(path_of(links, sync))).status_code == 404


async def test_a_page_needs_nothing_from_elsewhere_and_tells_nobody_where_it_is(
    public: httpx2.AsyncClient, conn: asyncpg.Connection, links: Links
) -> None:
    sync = await started(conn, p_event_name="<script>alert(1)</script>", p_times=FUTURE)

    page = await public.get(path_of(links, sync))

    assert "<script" not in page.text
    assert "&lt;script&gt;" in page.text
    assert not re.search(r"https?://|src=|@import|url\(", page.text)
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    style = page.text.partition("<style>")[2].partition("</style>")[0]
    assert base64.b64encode(hashlib.sha256(style.encode()).digest()).decode() in policy
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["x-robots-tag"] == "noindex, nofollow"


async def test_a_page_speaks_the_readers_language_by_the_readers_clocks(
    public: httpx2.AsyncClient, conn: asyncpg.Connection, links: Links
) -> None:
    sync = await started(conn, p_times=FUTURE)
    await conn.execute("UPDATE customers SET language = 'el-GR', timezone = 'America/New_York' WHERE ref = 'ann'")

    page = (await public.get(path_of(links, sync))).text

    assert '<html lang="el">' in page
    assert "Πέμπτη 3 Ιουνίου 2100, 11:00" in page
    assert "America/New_York" in page
    assert '<html lang="en">' in (await public.get(path_of(links, sync, "bob"))).text


async def test_without_a_secret_there_are_no_links(settings: Settings, conn: asyncpg.Connection, links: Links) -> None:
    sync = await started(conn)
    bare = settings.model_copy(update={"link_secret": None})
    assert Links(bare).to(uuid4()) is None
    assert Links(settings.model_copy(update={"public_url": None})).to(uuid4()) is None

    created: FastAPI = create_app(bare)
    async with created.router.lifespan_context(created), client_of(created) as client:
        assert (await client.get(path_of(links, sync))).status_code == 404


async def test_an_answer_elsewhere_is_what_the_page_shows(
    public: httpx2.AsyncClient, conn: asyncpg.Connection, links: Links
) -> None:
    sync = await started(conn)
    await answer(conn, sync, "ann", "declined")

    assert "You can\u2019t make it." in (await public.get(path_of(links, sync))).text


def test_a_link_is_short_enough_for_an_sms_and_holds_no_secret(links: Links) -> None:
    link = links.to(uuid4())

    assert link is not None
    assert len(link) <= 80
    assert LINK_SECRET not in link


def test_a_link_begins_with_the_address_that_is_set_whatever_it_ends_with(settings: Settings) -> None:
    for url in ("https://example.com/", "https://example.com", "https://example.com/book/"):
        made = Links(settings.model_copy(update={"public_url": HttpUrl(url)})).to(UUID(int=1))
        assert made is not None
        assert made.startswith(url.rstrip("/") + "/respond/")


@pytest.mark.parametrize(
    "bad",
    [
        {"link_secret": "x" * 31},
        {"public_url": "http://example.com"},
        {"public_url": "https://me:secret@example.com"},
        {"public_url": "https://example.com/?a=b"},
    ],
)
def test_settings_that_would_give_links_away_are_refused(bad: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Settings(_env_file=None, **bad)  # type: ignore[arg-type]
