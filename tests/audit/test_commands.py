"""`holdfast audit`: checkpoints to keep elsewhere, and what they prove."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest
from typer.testing import CliRunner, Result

from app.audit.checkpoints import Checkpoint, Fault, load_checkpoint, make_checkpoint, verify
from app.cli import app
from app.database import Database
from app.signatures import SigningKey, is_signed, new_signing_key
from tests.audit.support import live
from tests.conftest import Connect
from tests.factories import SYSTEM, Factory
from tests.sql.support import call_value

REWRITE = "UPDATE audit_checkpoints SET statement = statement || ' '"


@pytest.fixture(scope="module")
def key() -> SigningKey:
    return SigningKey(new_signing_key())


async def holdfast(dsn: str, *arguments: str, **environment: str) -> Result:
    """The command in this process, in a thread that has a loop of its own."""
    environment["DATABASE_URL"] = dsn
    return await asyncio.to_thread(lambda: CliRunner().invoke(app, ["audit", *arguments], env=environment))


async def test_a_checkpoint_is_printed_signed_and_verified_by_the_public_key_alone(
    dsn: str, conn: asyncpg.Connection, make: Factory, tmp_path: Path
) -> None:
    await make.booking()
    secret = new_signing_key()
    file = tmp_path / "checkpoint.json"

    made = await holdfast(dsn, "checkpoint", AUDIT_SIGNING_KEY=secret)
    file.write_text(made.stdout)
    public = json.loads(made.stdout)["public_key"]
    good = await holdfast(dsn, "verify", "--checkpoint", str(file), "--public-key", public)
    await conn.execute("SET session_replication_role = replica")
    await conn.execute("UPDATE audit_log SET reason = 'forged' WHERE subject_type = 'booking'")
    bad = await holdfast(dsn, "verify", "--checkpoint", str(file), "--public-key", public)

    assert (made.exit_code, good.exit_code, good.stderr) == (0, 0, "")
    assert "1 checkpoints, 0 erasures: no faults" in good.stdout
    assert secret not in made.stdout + made.stderr
    assert bad.exit_code == 1
    assert "changed" in bad.stdout
    assert str(await conn.fetchval("SELECT id FROM bookings")) in bad.stdout


async def test_a_rewritten_checkpoint_is_found_by_its_signature(
    database: Database, conn: asyncpg.Connection, key: SigningKey
) -> None:
    await live(conn)
    await make_checkpoint(database, key)
    assert (await verify(database, None, key.public)).faults == []

    await conn.execute("SET session_replication_role = replica")
    await conn.execute(REWRITE)

    assert (await verify(database, None, key.public)).faults == [Fault("checkpoint", "1", None, "forged")]


async def test_a_checkpoint_that_was_kept_shows_that_all_was_made_anew(
    database: Database, conn: asyncpg.Connection, make: Factory, key: SigningKey
) -> None:
    await make.booking()
    kept = await make_checkpoint(database, key)
    await conn.execute("SET session_replication_role = replica")
    await conn.execute("DELETE FROM audit_heads")
    await conn.execute("DELETE FROM audit_checkpoints")

    assert (await verify(database, kept, key.public)).faults == [Fault("checkpoint", "1", None, "missing")]
    await conn.execute("RESET session_replication_role")
    await make.booking()
    await make_checkpoint(database, key)
    assert (await verify(database, kept, key.public)).faults == [Fault("checkpoint", "1", None, "replaced")]


async def test_a_checkpoint_signed_by_somebody_else_is_found(
    database: Database, make: Factory, key: SigningKey
) -> None:
    await make.booking()
    await make_checkpoint(database, SigningKey(new_signing_key()))
    await make.booking()
    await make_checkpoint(database, None)

    report = await verify(database, None, key.public)

    assert [(fault.subject_id, fault.fault) for fault in report.faults] == [("1", "forged"), ("2", "not signed")]


async def test_a_checkpoint_waits_for_writers_and_gives_up_with_a_reason(
    database: Database, make: Factory, connect: Connect
) -> None:
    slot_id, slow = await make.slot(), await connect()
    async with slow.transaction():
        await Factory(slow).booking(slot_id)
        with pytest.raises(TimeoutError, match="writing for long"):
            await make_checkpoint(database, None, patience=0.2)


def test_a_printed_checkpoint_is_read_as_it_was(key: SigningKey) -> None:
    checkpoint = Checkpoint('{"number": 3}', key.sign('{"number": 3}'))

    assert load_checkpoint(checkpoint.dump(key.public)) == checkpoint
    assert load_checkpoint(Checkpoint('{"number": 3}', None).dump(None)).signature is None


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"statement": "x", "signature": null}', '{"statement": 1}'])
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no checkpoint"):
        load_checkpoint(text)


def test_a_signature_is_of_one_text_by_one_key(key: SigningKey) -> None:
    signature = key.sign("text")

    assert is_signed(key.public, "text", signature)
    assert not is_signed(key.public, "Text", signature)
    assert not is_signed(SigningKey(new_signing_key()).public, "text", signature)


@pytest.mark.parametrize("text", ["", "short", "!" * 44])
def test_what_is_no_key_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ValueError, match="32 bytes in base64") as error:
        SigningKey(text)
    assert not text or text not in str(error.value)


async def test_verify_says_before_when_all_was_dropped(dsn: str, conn: asyncpg.Connection, make: Factory) -> None:
    await make.booking()
    await call_value(
        conn, "drop_audit_month", p_actor=SYSTEM, p_limit=500, p_keep_months=1, p_now=datetime(2041, 3, 1, tzinfo=UTC)
    )
    before = await conn.fetchval("SELECT new_values ->> 'before' FROM audit_log")

    verified = await holdfast(dsn, "verify")

    assert verified.exit_code == 0
    assert f"1 entries, 0 checkpoints, 0 erasures: no faults; all before {before[:10]} was dropped" in verified.stdout
