"""One call a function of sql/: the recount."""

from app.database import Database


async def check_invariants(db: Database) -> str:
    """A report on every promise as JSON."""
    return str(await db.call_value("check_invariants"))
