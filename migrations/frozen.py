"""Run the object changes that a frozen revision holds, up or down."""

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa
from alembic import op

from migrations.sqltree import drop_statement, signature


class Change(NamedTuple):
    """One object of sql/ before and after a revision; None where it does not exist."""

    name: str
    before: str | None
    after: str | None

    @property
    def reverse(self) -> "Change":
        """The same change on the way down."""
        return Change(self.name, self.after, self.before)


def upgrade(changes: Sequence[Change]) -> None:
    """Remove what goes, triggers before the functions they call, then create or replace the rest."""
    for change in reversed(changes):
        if change.before and (change.after is None or signature(change.before) != signature(change.after)):
            _execute(drop_statement(change.name, change.before))
    for change in changes:
        if change.after:
            _execute(change.after)


def downgrade(changes: Sequence[Change]) -> None:
    """Put every object back to its text before the revision."""
    upgrade([change.reverse for change in changes])


def _execute(statement: str) -> None:
    # a colon in a comment or in JSON is not a bind parameter
    op.execute(sa.text(statement.replace(":", r"\:")))
