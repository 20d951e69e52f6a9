"""`holdfast keys new-encryption`, and what `holdfast doctor` says of keys."""

import asyncpg

from app.encryption import EncryptionKeys
from tests.cli.test_commands import holdfast
from tests.credentials.support import FIRST, SECOND, put_provider, store


def test_a_fresh_key_is_printed_alone_and_needs_no_database() -> None:
    done = holdfast("postgresql://nobody@127.0.0.1:1/none", "keys", "new-encryption")

    assert done.returncode == 0, done.stderr
    assert EncryptionKeys(done.stdout.strip()).ids == [done.stdout.partition(":")[0]]
    assert len(done.stdout.splitlines()) == 1


async def test_doctor_says_how_many_are_under_which_key(dsn: str, conn: asyncpg.Connection) -> None:
    await put_provider(conn)
    for ref in ("ann", "bob"):
        await store(conn, FIRST, ref)

    done = holdfast(dsn, "doctor", ENCRYPTION_KEYS=f"{SECOND},{FIRST}", CRON_SECRET="a-secret-for-tests")

    first, second = FIRST.partition(":"), SECOND.partition(":")
    assert done.returncode == 0, done.stdout
    assert f"0 credentials are under the key {second[0]}\n" in done.stdout
    assert f"2 credentials are under the key {first[0]}\n" in done.stdout
    assert first[2] not in done.stdout + done.stderr
    assert second[2] not in done.stdout + done.stderr


async def test_doctor_finds_credentials_that_nobody_can_use(dsn: str, conn: asyncpg.Connection) -> None:
    await put_provider(conn)
    await store(conn, FIRST)

    for keys in ("", SECOND):
        done = holdfast(dsn, "doctor", ENCRYPTION_KEYS=keys, CRON_SECRET="a-secret-for-tests")

        words = " ".join(done.stdout.split())
        assert done.returncode == 1
        assert (
            f"1 credentials are under the key {FIRST.partition(':')[0]}, which ENCRYPTION_KEYS does not have" in words
        )


async def test_keys_that_cannot_be_read_stop_every_command_and_are_not_told(dsn: str) -> None:
    body = FIRST.partition(":")[2]

    done = holdfast(dsn, "doctor", ENCRYPTION_KEYS=f"{FIRST},{body}")

    assert done.returncode == 2
    assert "ENCRYPTION_KEYS: Value error, key 2 is not of the form" in " ".join(done.stderr.split())
    assert body not in done.stdout + done.stderr
