"""Keys change while credentials are read, replaced, and rotated by others: none lost, none garbled."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from random import Random
from uuid import UUID

import asyncpg
import pytest

from app.credentials.queries import put_credentials, stored_credentials
from app.credentials.rotation import rotate
from app.database import Database, open_database
from app.encryption import EncryptionKeys
from app.providers.vault import seal, unseal
from app.security import Actor
from app.settings import Settings
from tests.concurrency.rivals import until_waiting
from tests.conftest import Connect
from tests.credentials.support import FIRST, SECOND, put_provider, store
from tests.live import ROOT
from tests.sql.support import one

ACTOR = Actor("admin", "rotator")
OLD, NEW = EncryptionKeys(f"{FIRST},{SECOND}"), EncryptionKeys(f"{SECOND},{FIRST}")
FILL = """
    INSERT INTO provider_credentials (provider, customer_id, key_id, nonce, ciphertext)
    SELECT 'gametime', c.id, $1, s.nonce, s.ciphertext
    FROM unnest($2::text[], $3::bytea[], $4::bytea[]) AS s (ref, nonce, ciphertext) JOIN customers c USING (ref)
"""
UNDER = "SELECT count(*) FILTER (WHERE key_id = $1), count(*) FROM provider_credentials"


async def fill(conn: asyncpg.Connection, count: int) -> dict[str, str]:
    """So many customers with credentials under the old key: ref -> password."""
    await put_provider(conn)
    passwords = {f"c{n}": f"first of c{n}" for n in range(count)}
    await conn.execute("INSERT INTO customers (ref) SELECT unnest($1::text[])", list(passwords))
    sealed = [seal(OLD, "gametime", ref, {"password": password}) for ref, password in passwords.items()]
    await conn.execute(FILL, OLD.ids[0], list(passwords), [s.nonce for s in sealed], [s.ciphertext for s in sealed])
    return passwords


async def ids(conn: asyncpg.Connection) -> list[UUID]:
    return [row["id"] for row in await conn.fetch("SELECT id FROM provider_credentials ORDER BY id")]


async def all_passwords(conn: asyncpg.Connection, database: Database) -> dict[str, str]:
    """What each customer's credentials decrypt to."""
    found = {}
    for credentials_id in await ids(conn):
        ref, password = await read(database, credentials_id)
        found[ref] = password
    return found


async def read(database: Database, credentials_id: UUID) -> tuple[str, str]:
    stored = await stored_credentials(database, credentials_id)
    assert stored is not None
    return stored.customer_ref, unseal(NEW, stored.provider, stored.customer_ref, stored.sealed).fields["password"]


async def replace(database: Database, ref: str, password: str, keys: EncryptionKeys) -> None:
    sealed = seal(keys, "gametime", ref, {"password": password})
    await put_credentials(database, ACTOR, "gametime", ref, sealed)


@pytest.fixture
async def others(settings: Settings) -> AsyncIterator[Database]:
    """Another process's door to the database."""
    async with open_database(settings) as opened:
        yield opened


async def test_all_are_rotated_while_they_are_used_and_replaced(
    conn: asyncpg.Connection, database: Database, others: Database
) -> None:
    await rotate_in_use(2_000, conn, database, others)


async def rotate_in_use(count: int, conn: asyncpg.Connection, database: Database, others: Database) -> None:
    """Rotate so many while some are read and others replaced."""
    passwords = await fill(conn, count)
    everything, rotation = await ids(conn), asyncio.create_task(rotate(database, ACTOR, NEW))
    reads = writes = 0

    async def keep_reading(random: Random) -> None:
        nonlocal reads
        while not rotation.done():
            ref, password = await read(others, random.choice(everything))
            assert password.endswith(f" of {ref}")
            reads += 1

    async def keep_writing(refs: list[str], keys: EncryptionKeys, random: Random) -> None:
        nonlocal writes
        while not rotation.done():
            # this writer's alone
            ref = random.choice(refs)
            password = f"number {writes} of {ref}"
            await replace(others, ref, password, keys)
            passwords[ref] = password
            writes += 1

    refs = list(passwords)
    await asyncio.gather(
        *(keep_reading(Random(n)) for n in range(4)),  # noqa: S311 - the same choices every time
        keep_writing(refs[: count // 2], OLD, Random(5)),  # noqa: S311
        keep_writing(refs[count // 2 :], NEW, Random(6)),  # noqa: S311
    )

    assert min(reads, writes) > 20
    assert (await rotation).rotated > count // 2
    # what the one with the old settings stored behind the rotation's back
    assert (await rotate(database, ACTOR, NEW)).left == 0
    assert await one(conn, UNDER, NEW.ids[0]) == (count, count)
    assert await all_passwords(conn, database) == passwords


async def test_a_second_time_there_is_nothing_to_do(conn: asyncpg.Connection, database: Database) -> None:
    passwords = await fill(conn, 25)

    assert await rotate(database, ACTOR, NEW, batch=10) == (25, 0)
    assert await rotate(database, ACTOR, NEW, batch=10) == (0, 0)

    assert await all_passwords(conn, database) == passwords
    trail = "SELECT count(*) FROM audit_log WHERE event = 'credentials.modified' AND performed_by_id = 'rotator'"
    assert await one(conn, trail) == (25,)


async def test_several_who_rotate_at_once_rotate_each_once(
    conn: asyncpg.Connection, database: Database, others: Database
) -> None:
    passwords = await fill(conn, 300)

    done = await asyncio.gather(*(rotate(db, ACTOR, NEW, batch=20) for db in (database, others)))

    assert sum(rotation.rotated for rotation in done) == 300
    assert await all_passwords(conn, database) == passwords


async def test_what_cannot_be_decrypted_stays_and_is_counted(conn: asyncpg.Connection, database: Database) -> None:
    await fill(conn, 25)
    (altered, lost, *_) = await ids(conn)
    await conn.execute("UPDATE provider_credentials SET ciphertext = 'x' WHERE id = $1", altered)
    await conn.execute("UPDATE provider_credentials SET key_id = 'lost' WHERE id = $1", lost)

    assert await rotate(database, ACTOR, NEW, batch=1) == (23, 2)

    kept = "SELECT ciphertext, key_id FROM provider_credentials WHERE id = $1"
    assert await one(conn, kept, altered) == (b"x", OLD.ids[0])


async def test_without_a_second_key_it_is_refused(conn: asyncpg.Connection, database: Database) -> None:
    await fill(conn, 1)

    with pytest.raises(ValueError, match="put a new one before it"):
        await rotate(database, ACTOR, EncryptionKeys(FIRST))

    assert await one(conn, UNDER, OLD.ids[0]) == (1, 1)


def command(dsn: str, keys: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "app.cli", "keys", "rotate"],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": dsn, "ENCRYPTION_KEYS": keys},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


async def finish(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = await asyncio.to_thread(process.communicate, timeout=60)
    return process.returncode, out, err


async def test_killed_halfway_it_has_lost_nothing_and_goes_on_when_run_again(
    dsn: str, conn: asyncpg.Connection, connect: Connect, database: Database
) -> None:
    passwords = await fill(conn, 1200)
    # in the second batch, so that the first is done
    held = (await ids(conn))[700]
    process = command(dsn, f"{SECOND},{FIRST}")
    async with conn.transaction():
        await conn.execute("SELECT FROM provider_credentials WHERE id = $1 FOR UPDATE", held)
        await until_waiting(await connect(), 1)
        process.send_signal(signal.SIGKILL)
        assert (await finish(process))[0] == -signal.SIGKILL

    rotated, count = await one(conn, UNDER, NEW.ids[0])
    assert 500 <= rotated < count == 1200
    assert await all_passwords(conn, database) == passwords

    assert (await finish(command(dsn, f"{SECOND},{FIRST}")))[0] == 0
    assert await one(conn, UNDER, NEW.ids[0]) == (1200, 1200)
    assert await all_passwords(conn, database) == passwords


async def test_the_command_says_how_many_and_no_key(dsn: str, conn: asyncpg.Connection) -> None:
    await fill(conn, 3)

    status, out, err = await finish(command(dsn, f"{SECOND},{FIRST}"))

    assert (status, out) == (0, f"3 credentials are under the key {NEW.ids[0]} now, 0 are under another still\n")
    for key in (FIRST, SECOND):
        assert key.partition(":")[2] not in out + err


@pytest.mark.parametrize(
    ("keys", "words"), [("", "is not set"), (FIRST, "put a new one before it")], ids=["none", "one"]
)
async def test_the_command_refuses_without_a_key_to_rotate_to(
    dsn: str, conn: asyncpg.Connection, keys: str, words: str
) -> None:
    await fill(conn, 1)

    status, out, err = await finish(command(dsn, keys))

    assert (status, out) == (1, "")
    assert words in err
    assert FIRST.partition(":")[2] not in err


async def test_the_command_fails_where_something_is_left(dsn: str, conn: asyncpg.Connection) -> None:
    await put_provider(conn)
    await store(conn, "gone:" + FIRST.partition(":")[2])

    status, out, err = await finish(command(dsn, f"{SECOND},{FIRST}"))

    assert (status, "1 are under another still" in out, "holdfast doctor" in err) == (1, True, True)
