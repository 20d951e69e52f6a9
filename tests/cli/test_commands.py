"""The `holdfast` command, as a person or a script calls it."""

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest
import typer

from app.key_commands import duration

ROOT = Path(__file__).parent.parent.parent


def holdfast(dsn: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app.cli", *arguments],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": dsn} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def test_keys_create_prints_the_key_alone(dsn: str, conn: asyncpg.Connection) -> None:
    done = holdfast(dsn, "keys", "create", "--scope", "frontend", "--name", "web shop")

    key = done.stdout.strip()
    assert key.startswith("hf_")
    assert done.stdout == f"{key}\n"
    (stored,) = await conn.fetch("SELECT * FROM api_keys")
    assert (stored["name"], stored["scopes"]) == ("web shop", ["frontend"])
    assert key not in str(dict(stored))


async def test_a_revoked_key_shows_as_revoked(dsn: str) -> None:
    prefix = holdfast(dsn, "keys", "create", "--scope", "cron").stdout[:11]

    assert holdfast(dsn, "keys", "revoke", prefix).returncode == 0
    assert holdfast(dsn, "keys", "revoke", prefix).returncode == 1
    assert prefix in holdfast(dsn, "keys", "list").stdout


async def test_a_rotated_key_ends_after_the_overlap_and_the_new_one_is_printed_alone(
    dsn: str, conn: asyncpg.Connection
) -> None:
    old = holdfast(dsn, "keys", "create", "--scope", "cron", "--expires-in", "90d").stdout.strip()

    done = holdfast(dsn, "keys", "rotate-api-key", old[:11], "--overlap", "24h")

    new = done.stdout.strip()
    assert done.stdout == f"{new}\n"
    assert new.startswith("hf_")
    assert new != old
    lifetimes = await conn.fetch(
        "SELECT prefix, round(extract(epoch FROM expires_at - now()) / 3600) FROM api_keys ORDER BY created_at"
    )
    assert [tuple(row) for row in lifetimes] == [(old[:11], 24), (new[:11], 90 * 24)]


@pytest.mark.parametrize(
    ("text", "meant"), [("90d", timedelta(days=90)), ("24h", timedelta(days=1)), ("0m", timedelta(0))]
)
def test_a_time_is_a_number_and_its_unit(text: str, meant: timedelta) -> None:
    assert duration(text, "--overlap") == meant
    for wrong in ("", text[:-1], f"-{text}", f"{text} ", f"{text}{text}", "1y", "999999d"):
        with pytest.raises(typer.BadParameter, match="such as 90d"):
            duration(wrong, "--overlap")


async def test_an_unknown_scope_is_refused(dsn: str) -> None:
    assert holdfast(dsn, "keys", "create", "--scope", "owner").returncode == 2


async def test_a_booking_still_active_after_its_end_is_completed(
    dsn: str, conn: asyncpg.Connection, tmp_path: Path
) -> None:
    file = tmp_path / "old.json"
    # the booking that the systems before this one left behind, in their own words
    file.write_text(
        json.dumps(
            [
                {
                    "id": "b-1",
                    "user_id": "u-1",
                    "pitch_id": "p-1",
                    "slot_datetime": "2025-12-20T09:00:00+00:00",
                    "slot_datetime_end": "2025-12-20T10:00:00+00:00",
                    "status": "active",
                }
            ]
        )
    )

    assert json.loads(holdfast(dsn, "import", "bookings", str(file)).stdout) == {
        "created": 1,
        "unchanged": 0,
        "failed": 0,
    }
    assert await conn.fetchval("SELECT status FROM bookings") == "confirmed"
    report = json.loads(holdfast(dsn, "process-jobs").stdout)

    assert (report["processed"], report["remaining_due"]) == (1, 0)
    assert await conn.fetchval("SELECT status FROM bookings") == "completed"
    events = [r["event"] for r in await conn.fetch("SELECT event FROM audit_log WHERE subject_type = 'booking'")]
    assert events == ["booking.created", "booking.completed"]


async def test_an_import_names_each_row_it_could_not_take(dsn: str, conn: asyncpg.Connection, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(
        "external_id,resource,starts_at,ends_at,status,customer_ref\n"
        "a,Pitch,2025-12-20T09:00:00+00:00,,active,ann\n"
        "b,Pitch,2025-12-20T09:00:00,,active,ann\n"
        "c,Pitch,2025-12-20T09:00:00+00:00,2025-12-20T08:00:00+00:00,active,ann\n"
        "d,Pitch,2025-12-20T09:00:00+00:00,,sleeping,ann\n"
        "e,Pitch,2025-12-20T09:00:00+00:00,,active,\n"
        "f,Pitch,2025-12-20T09:00:00+00:00,,canceled,ben\n"
    )

    done = holdfast(dsn, "import", "bookings", str(file))

    assert done.returncode == 1
    assert json.loads(done.stdout.splitlines()[-1]) == {"created": 2, "unchanged": 0, "failed": 4}
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == [
        "row 2 (external_id=b)",
        "row 3 (external_id=c)",
        "row 4 (external_id=d)",
        "row 5 (external_id=e)",
    ]
    again = holdfast(dsn, "import", "bookings", str(file))
    assert json.loads(again.stdout) == {"created": 0, "unchanged": 2, "failed": 4}
    assert await conn.fetchval("SELECT count(*) FROM bookings") == 2


async def test_one_refused_row_does_not_take_its_batch_with_it(
    dsn: str, conn: asyncpg.Connection, tmp_path: Path
) -> None:
    await conn.execute("INSERT INTO resources (name, timezone) VALUES ('Pitch', 'UTC')")
    await conn.execute(
        """INSERT INTO slots (resource_id, starts_at, ends_at, max_bookings)
        SELECT id, '2031-01-01 09:00Z', '2031-01-01 10:00Z', 1 FROM resources"""
    )
    rows = [
        {"external_id": f"x{n}", "resource": "Pitch", "starts_at": "2031-01-01T09:00:00Z", "customer_ref": f"c{n}"}
        for n in range(3)
    ]
    file = tmp_path / "rows.json"
    file.write_text(json.dumps(rows))

    done = holdfast(dsn, "import", "bookings", str(file))

    assert json.loads(done.stdout) == {"created": 1, "unchanged": 0, "failed": 2}
    assert done.stderr.splitlines()[0] == "row 2 (external_id=x1): slot_full"
    assert await conn.fetchval("SELECT booked_bookings FROM slots") == 1


@pytest.mark.parametrize("content", ['{"not": "a list"}', "[1, 2", "\xff"])
async def test_a_file_that_is_no_list_of_bookings_is_refused_in_a_sentence(
    dsn: str, tmp_path: Path, content: str
) -> None:
    file = tmp_path / "rows.json"
    file.write_bytes(content.encode("latin-1"))

    done = holdfast(dsn, "import", "bookings", str(file))

    assert done.returncode == 1
    assert "Traceback" not in done.stderr


async def test_doctor_finds_nothing_wrong_and_shows_no_secret(dsn: str) -> None:
    done = holdfast(dsn, "doctor", CRON_SECRET="a-very-secret-secret")

    assert done.returncode == 0, done.stdout
    assert "a-very-secret-secret" not in done.stdout
    assert dsn not in done.stdout


async def test_doctor_says_what_is_wrong(empty_dsn: str) -> None:
    done = holdfast(empty_dsn, "doctor")

    assert done.returncode == 1
    assert "holdfast migrate" in done.stdout
    assert "CRON_SECRET" in done.stdout


async def test_doctor_says_that_links_lack_their_address_and_not_that_an_address_lacks_links(dsn: str) -> None:
    is_well = {"CRON_SECRET": "a-very-secret-secret"}

    without = holdfast(dsn, "doctor", LINK_SECRET="x" * 32, **is_well)
    alone = holdfast(dsn, "doctor", PUBLIC_URL="https://book.example.com", **is_well)

    assert (without.returncode, "LINK_SECRET is set without PUBLIC_URL" in without.stdout) == (1, True)
    assert alone.returncode == 0, alone.stdout


async def test_a_setting_that_cannot_be_read_is_named(dsn: str) -> None:
    done = holdfast(dsn, "doctor", CRON_SECRET="short")

    assert done.returncode == 2
    assert "CRON_SECRET" in done.stderr
    assert "short" not in done.stderr.replace("should", "")


async def test_an_unreachable_database_is_said_in_a_sentence() -> None:
    done = holdfast("postgresql://nobody@127.0.0.1:1/none", "process-jobs")

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
