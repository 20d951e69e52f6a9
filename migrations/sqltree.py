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
    table = re.search(r"\bON (\w+)\s+FOR EACH", text)
    if table is None:
        msg = f"{name}: no table found in the trigger's text"
        raise ValueError(msg)
    return f"DROP TRIGGER IF EXISTS {object_name} ON {table[1]}"


def signature(text: str) -> str:
    """What CREATE OR REPLACE cannot change: the name, the arguments and the result, without layout."""
    head = re.search(r"CREATE OR REPLACE (.+?)\bLANGUAGE\b", text, re.DOTALL)
    return " ".join(head[1].split()) if head else ""
