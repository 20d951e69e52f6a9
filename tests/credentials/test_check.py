"""The job that asks a provider about credentials: what becomes of each answer, against a club with real sockets."""

import asyncio
import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from app.credentials.handlers import MAX_DETAIL, check_credentials
from app.database import Database
from app.handlers import Job, Ok, Outcome, Permanent, Retry, Skip
from app.settings import Settings
from tests.credentials.club import Club, ClubAdapter
from tests.credentials.support import FIRST, SECOND, claim, put_provider, store, with_keys
from tests.sql.support import one

STATE = "SELECT status, check_detail FROM provider_credentials"


async def put_club(conn: asyncpg.Connection, site: Club, **overrides: Any) -> None:
    await put_provider(conn, **({"p_settings": json.dumps({"url": site.url})} | overrides))


async def run(database: Database, settings: Settings, job: Job) -> Outcome:
    return await check_credentials(database, settings).run(job)


async def check(conn: asyncpg.Connection, database: Database, settings: Settings, **fields: str) -> Outcome:
    """Store credentials, and do the job that is left."""
    await store(conn, **fields)
    return await run(database, settings, await claim(conn))


async def test_the_handler_does_the_jobs_that_storing_leaves(database: Database, settings: Settings) -> None:
    handler = check_credentials(database, settings)

    assert (handler.job_type, handler.queue) == ("check_credentials", "provider:*")


async def test_whoever_is_let_in_has_valid_credentials(
    conn: asyncpg.Connection, database: Database, settings: Settings, site: Club
) -> None:
    await put_club(conn, site)

    assert await check(conn, database, settings) == Ok({"status": "valid"})

    assert await one(conn, STATE) == ("valid", None)
    who = "SELECT performed_by, performed_by_id FROM audit_log WHERE event = 'credentials.valid'"
    assert await one(conn, who) == ("system", "check_credentials")


async def test_whoever_is_not_has_invalid_ones_with_the_providers_words(
    conn: asyncpg.Connection, database: Database, settings: Settings, site: Club
) -> None:
    await put_club(conn, site)
    site.words = "no such member"

    assert await check(conn, database, settings, password="guessed") == Ok({"status": "invalid"})

    assert await one(conn, STATE) == ("invalid", "no such member")
    assert await one(conn, "SELECT count(*) FROM audit_log WHERE event = 'credentials.invalid'") == (1,)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (503, Retry("unavailable: closed")),
        (429, Retry("rate_limited: closed", timedelta(seconds=120))),
        (404, Permanent("refused: closed")),
    ],
)
async def test_a_provider_that_does_not_say_leaves_them_unchecked(
    conn: asyncpg.Connection, database: Database, settings: Settings, site: Club, status: int, outcome: Outcome
) -> None:
    await put_club(conn, site)
    site.status, site.words = status, "closed"

    assert await check(conn, database, settings) == outcome

    assert await one(conn, STATE) == ("unchecked", None)


async def test_words_are_short_storable_and_without_the_secret(
    conn: asyncpg.Connection, database: Database, settings: Settings, site: Club
) -> None:
    await put_club(conn, site)
    site.words = "PASSWORD is wrong\0" + "!" * 1000

    await check(conn, database, settings, password="canary")

    (_, detail) = await one(conn, STATE)
    assert detail.startswith("… is wrong!")
    assert len(detail) == MAX_DETAIL


async def test_newer_credentials_win_over_the_check_of_older_ones(
    conn: asyncpg.Connection, database: Database, settings: Settings, site: Club
) -> None:
    await put_club(conn, site)
    await store(conn, password="guessed")
    job, loop = await claim(conn), asyncio.get_running_loop()

    def store_newer() -> None:
        asyncio.run_coroutine_threadsafe(store(conn), loop).result(20)

    # while the provider looks at the old ones
    site.before_answering = store_newer

    assert await run(database, settings, job) == Skip("newer credentials are stored")

    site.before_answering = lambda: None
    assert await one(conn, STATE) == ("unchecked", None)
    assert await run(database, settings, await claim(conn)) == Ok({"status": "valid"})


async def test_nobody_asks_about_credentials_that_are_gone(
    conn: asyncpg.Connection, database: Database, settings: Settings, site: Club
) -> None:
    await put_club(conn, site)
    await store(conn)
    await conn.execute("DELETE FROM provider_credentials")

    assert await run(database, settings, await claim(conn)) == Skip("the credentials are gone")
    assert site.callers == 0


async def test_nobody_asks_a_provider_that_is_disabled(
    conn: asyncpg.Connection, database: Database, settings: Settings, site: Club
) -> None:
    await put_club(conn, site, p_is_enabled=False)

    assert await check(conn, database, settings) == Skip("the provider is disabled")
    assert site.callers == 0


@pytest.mark.parametrize("change", [{"p_adapter": "tennis"}, {"p_settings": "{}"}])
async def test_an_adapter_that_cannot_be_had_is_for_people(
    conn: asyncpg.Connection, database: Database, settings: Settings, change: dict[str, str]
) -> None:
    await put_provider(conn, **change)

    outcome = await check(conn, database, settings)

    assert isinstance(outcome, Permanent)
    assert await one(conn, STATE) == ("unchecked", None)


async def test_an_adapter_that_fails_is_closed_all_the_same(
    conn: asyncpg.Connection,
    database: Database,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail(_self: ClubAdapter, credentials: object) -> None:
        raise ValueError(credentials)

    monkeypatch.setattr(ClubAdapter, "check_credentials", fail)
    await put_provider(conn)

    with pytest.raises(ValueError, match="Credentials") as failed:
        await check(conn, database, settings, password="canary")

    assert "canary" not in str(failed.value)


@pytest.mark.parametrize("keys", [(), (SECOND,)])
async def test_a_key_that_is_missing_may_come(
    conn: asyncpg.Connection, database: Database, settings: Settings, site: Club, keys: tuple[str, ...]
) -> None:
    await put_club(conn, site)
    without = with_keys(settings, *keys) if keys else settings.model_copy(update={"encryption_keys": None})

    outcome = await check(conn, database, without)

    assert isinstance(outcome, Retry)
    assert "ENCRYPTION_KEYS" in outcome.error
    assert (await one(conn, STATE), site.callers) == (("unchecked", None), 0)


SWAPPED = """
    UPDATE provider_credentials c SET nonce = o.nonce, ciphertext = o.ciphertext, key_id = o.key_id
    FROM provider_credentials o WHERE o.id <> c.id
"""
TAKEN_OVER = "UPDATE customers SET ref = CASE ref WHEN 'ann' THEN 'bob' ELSE 'ann' END WHERE ref IN ('ann', 'bob')"
BY_HAND = {
    "swapped with another's": [SWAPPED],
    "their owners swapped": [
        "ALTER TABLE customers DROP CONSTRAINT customers_ref_key",
        TAKEN_OVER,
    ],
    "changed": ["UPDATE provider_credentials SET ciphertext = set_byte(ciphertext, 0, get_byte(ciphertext, 0) # 1)"],
    "cut off": ["UPDATE provider_credentials SET ciphertext = substr(ciphertext, 1, 3)"],
    "emptied": ["UPDATE provider_credentials SET ciphertext = ''"],
}


@pytest.mark.parametrize("statements", BY_HAND.values(), ids=BY_HAND.keys())
async def test_a_ciphertext_that_was_touched_is_never_used(
    conn: asyncpg.Connection, database: Database, settings: Settings, site: Club, statements: list[str]
) -> None:
    await put_club(conn, site)
    ids = [await store(conn, ref=ref, password=f"of {ref}") for ref in ("ann", "bob")]
    for statement in statements:
        await conn.execute(statement)

    outcomes = [await run(database, settings, await claim(conn)) for _ in ids]

    refusal = Permanent("the stored ciphertext is not this customer's at this provider")
    assert (outcomes, site.callers) == ([refusal, refusal], 0)
    rows = await conn.fetch(STATE)
    assert {row["status"] for row in rows} == {"invalid"}
    assert {row["check_detail"] for row in rows} == {"what is stored cannot be read any more: store it again"}


async def test_a_ciphertext_that_went_to_another_provider_is_never_used(
    conn: asyncpg.Connection, database: Database, settings: Settings, site: Club
) -> None:
    await put_club(conn, site)
    await put_provider(conn, "elsewhere", p_settings=json.dumps({"url": site.url}))
    moved = await store(conn)
    await conn.execute("UPDATE provider_credentials SET provider = 'elsewhere' WHERE id = $1", moved)

    assert isinstance(await run(database, settings, await claim(conn)), Permanent)

    assert site.callers == 0


async def test_credentials_stored_again_are_used_again(
    conn: asyncpg.Connection, database: Database, settings: Settings, site: Club
) -> None:
    await put_club(conn, site)
    await store(conn, FIRST)
    await conn.execute("UPDATE provider_credentials SET ciphertext = ''")
    await run(database, settings, await claim(conn))

    assert await check(conn, database, settings) == Ok({"status": "valid"})


async def test_one_job_waits_for_each_customer(conn: asyncpg.Connection, site: Club) -> None:
    await put_club(conn, site)
    first = await store(conn)
    second = await store(conn, ref="bob")
    await store(conn)

    jobs = [await claim(conn), await claim(conn)]

    assert {UUID(job.payload["credentials_id"]) for job in jobs} == {first, second}
    assert await conn.fetch("SELECT FROM jobs WHERE status = 'pending'") == []
