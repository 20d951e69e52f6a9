"""The freeze tool: what changed in sql/ becomes a revision that goes up and down, and history stays history."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies

from migrations import sqltree
from migrations.freeze import changes_between, frozen_tree, history, render
from migrations.frozen import Change
from tests.migrations.support import REVISIONS, ROOT, connected, definitions, definitions_at, up

MIGRATE = """
from alembic import command
from pydantic import SecretStr
import sys
from app.migrate import alembic_config
from app.settings import Settings
config = alembic_config(Settings(_env_file=None, database_url=SecretStr(sys.argv[1])))
command.upgrade(config, "head") if sys.argv[2] == "up" else command.downgrade(config, "-1")
"""


def test_nothing_in_sql_is_left_unfrozen() -> None:
    assert changes_between(frozen_tree(history()), sqltree.current()) == []


def test_a_change_is_what_is_new_what_differs_and_what_is_gone_functions_first() -> None:
    before = {"functions/a": "1", "functions/b": "1", "triggers/a": "1", "functions/gone": "1"}
    after = {"functions/a": "1", "functions/b": "2", "triggers/a": "2", "functions/new": "1"}

    assert changes_between(before, after) == [
        Change("functions/b", "1", "2"),
        Change("functions/gone", "1", None),
        Change("functions/new", None, "1"),
        Change("triggers/a", "1", "2"),
    ]


def test_what_is_rendered_reads_back_exactly() -> None:
    changes = [
        Change("functions/f", None, "SELECT E'\\n\\t', '%', '{}', $$ it's :one::text \"q\" $$ -- é"),
        Change("triggers/t", "old 'text'", None),
    ]

    names: dict[str, object] = {}
    exec(render("what it promises", "0042", "0041", changes), names)  # noqa: S102 - our own source

    assert (names["revision"], names["down_revision"]) == ("0042", "0041")
    assert names["CHANGES"] == changes


# Any text, and texts of little but what means something inside a Python literal. A command line cannot hold NUL.
TEXTS = strategies.text() | strategies.text(alphabet="\"'\\\r\n\0{}rN a")


@hypothesis.given(message=TEXTS.map(lambda text: text.replace("\0", "")), before=TEXTS, after=TEXTS | strategies.none())
@hypothesis.example('"', 'comment on x is "', "E'\\\\' || '\\")
@hypothesis.example('"""', 'SELECT $$ """ $$', '"""')
@hypothesis.example("\\N", "one\r\ntwo", "one\rtwo")
def test_any_text_is_rendered_so_that_it_reads_back_exactly(message: str, before: str, after: str | None) -> None:
    names: dict[str, object] = {}
    exec(render(message, "0042", "0041", [Change("functions/f", before, after)]).encode(), names)  # noqa: S102

    assert names["CHANGES"] == [Change("functions/f", before, after)]


# What a developer might do to sql/ between two revisions: an edit, a new signature with its caller, a trigger gone,
# another moved to a table of its own, and new ones whose text holds whatever breaks careless quoting.
EDITED = {
    "functions/get_booking": ("Called by GET", "Answers GET"),
    "functions/booking_json": ("p_customer_ref text)", "p_customer_ref text, p_zone text DEFAULT 'UTC')"),
    "functions/due_jobs": ("remaining_due bigint, oldest_due_age_ms bigint", "remaining_due bigint, oldest_ms bigint"),
    "triggers/resources_write_audit": ("ON resources", "ON booking_transitions"),
    "triggers/bookings_guard_update": ("BEFORE UPDATE ON", "BEFORE UPDATE OF status ON"),
}
GONE = ["triggers/bookings_refuse_delete", "functions/list_api_keys"]
NEW = {
    "functions/odd": "-- Promises: 100 % {odd}: a:b \"c\" 'd'\nCREATE OR REPLACE FUNCTION odd()\nRETURNS text\n"
    "LANGUAGE sql\nSET search_path FROM CURRENT\nAS $$ SELECT E'\\\\:x' || ':y'::text || '{\"a\": 1}' $$",
    "triggers/odd": "CREATE OR REPLACE TRIGGER odd\nBEFORE TRUNCATE ON jobs\nFOR EACH STATEMENT\n"
    "EXECUTE FUNCTION refuse_change()",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the freeze tool works on."""
    for folder in ("migrations", "sql", "app"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "alembic.ini", tmp_path)
    return tmp_path


def develop(checkout: Path) -> None:
    """Edit the copy's sql/ as above."""
    for name, (old, new) in EDITED.items():
        path = checkout / "sql" / f"{name}.sql"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
    for name in GONE:
        (checkout / "sql" / f"{name}.sql").unlink()
    for name, text in NEW.items():
        (checkout / "sql" / f"{name}.sql").write_text(text + "\n")


def run(checkout: Path, *arguments: str) -> str:
    """Run Python in the copy, so that its packages are the ones that are found."""
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_with_nothing_changed_there_is_nothing_to_freeze(checkout: Path) -> None:
    before = set(checkout.rglob("versions/*.py"))

    assert "nothing changed" in run(checkout, "-m", "migrations.freeze", "nothing")

    assert set(checkout.rglob("versions/*.py")) == before


async def test_a_frozen_revision_goes_up_and_down(checkout: Path, dsn: str, empty_dsn: str) -> None:
    before = await definitions_at(dsn)
    develop(checkout)
    number = f"{len(REVISIONS) + 1:04}"
    said = run(checkout, "-m", "migrations.freeze", "Holds end: on time!")
    assert f"migrations/versions/{number}_holds_end_on_time.py" in said
    assert "nothing changed" in run(checkout, "-m", "migrations.freeze", "again")

    run(checkout, "-c", MIGRATE, dsn, "up")
    assert await definitions_at(dsn) == await built_afresh(checkout, empty_dsn)

    run(checkout, "-c", MIGRATE, dsn, "down")
    assert await definitions_at(dsn) == before

    run(checkout, "-c", MIGRATE, dsn, "up")
    assert set(await definitions_at(dsn)) == (set(before) | set(NEW)) - set(GONE)


async def built_afresh(checkout: Path, dsn: str) -> dict[str, str]:
    """The definitions that the copy's files make in a database where no such object was before."""
    await up(dsn)
    async with connected(dsn, "holdfast, pg_temp") as conn:
        for name in await definitions(conn):
            kind, stem = name.split("/")
            if kind == "functions":
                await conn.execute(f"DROP FUNCTION IF EXISTS {stem} CASCADE")
        await conn.execute("SET check_function_bodies TO off")
        for kind in sqltree.KINDS:
            for path in sorted((checkout / "sql" / kind).glob("*.sql")):
                await conn.execute(path.read_text())
        return await definitions(conn)
