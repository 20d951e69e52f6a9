"""The files under sql/: what they are called and in which order they are applied."""

import re
from pathlib import Path

SQL_ROOT = Path(__file__).parent.parent / "sql"
KINDS = ("functions", "triggers")


def current() -> dict[str, str]:
    """What sql/ says now: object (`functions/create_booking_safe`) -> its statement, in order of application."""
    return {
        f"{kind}/{path.stem}": path.read_text().strip()
        for kind in KINDS
        for path in sorted((SQL_ROOT / kind).glob("*.sql"))
    }


def drop_statement(name: str, text: str) -> str:
    """The statement that removes the object `name` whose definition is `text`."""
    kind, object_name = name.split("/")
    if kind == "functions":
        return f"DROP FUNCTION IF EXISTS {object_name}"
    return f"DROP TRIGGER IF EXISTS {object_name} ON {_table(text)}"


def signature(text: str) -> str:
    """What CREATE OR REPLACE cannot change: a function's arguments and result, a trigger's table."""
    head = re.search(r"CREATE OR REPLACE FUNCTION (.+?)\bLANGUAGE\b", text, re.DOTALL)
    return " ".join(head[1].split()) if head else _table(text)


def _table(trigger: str) -> str:
    table = re.search(r"\bON (\w+)\s+(?:REFERENCING .+\s+)?FOR EACH", trigger)
    if table is None:
        msg = f"no table found in the trigger: {trigger}"
        raise ValueError(msg)
    return table[1]
