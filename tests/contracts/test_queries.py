"""What Python calls, Postgres has: every function called, with parameters it takes and all that it needs."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import asyncpg

from tests.contracts.support import ROOT

CALLS = {"call", "call_row", "call_value"}
PARAMETERS = """
    SELECT proname::text, coalesce(proargnames[:pronargs], '{}') AS names, pronargs - pronargdefaults AS needed
    FROM pg_proc WHERE pronamespace = 'holdfast'::regnamespace
"""


class Called(NamedTuple):
    """One call of a SQL function in the app's code."""

    place: str
    function: str
    given: frozenset[str]


def calls_in(path: Path) -> Iterator[Called]:
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Call(func=ast.Attribute(attr=attr), args=[ast.Constant(value=str(function))]) if attr in CALLS:
                given = frozenset(keyword.arg or "**" for keyword in node.keywords)
                yield Called(f"{path.relative_to(ROOT)}:{node.lineno}", function, given)


CALLED = [call for path in (ROOT / "app").rglob("*.py") for call in calls_in(path)]


# A delivery is signed with the time at which it is sent, and what follows from it takes days: one clock for both,
# which a test can turn.
BY_THE_SENDERS_CLOCK = {"delivery_request", "end_delivery"}


def test_no_process_tells_the_database_what_time_it_is() -> None:
    assert {call.function for call in CALLED if "p_now" in call.given} == BY_THE_SENDERS_CLOCK


async def test_python_and_sql_agree_on_names_and_parameters(conn: asyncpg.Connection) -> None:
    known = {row["proname"]: row for row in await conn.fetch(PARAMETERS)}

    assert len(CALLED) > 10
    for call in CALLED:
        assert call.function in known, call
        names = known[call.function]["names"]
        assert call.given <= set(names), call
        assert set(names[: known[call.function]["needed"]]) <= call.given, call
