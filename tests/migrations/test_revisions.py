"""The revisions: history that stands on its own, in one line, each starting where the last one ended."""

import ast
from pathlib import Path

import pytest

from migrations.freeze import history
from tests.migrations.support import REVISIONS

ALLOWED_IMPORTS = {"alembic", "sqlalchemy", "migrations"}


def test_each_revision_starts_from_what_the_one_before_left() -> None:
    tree: dict[str, str] = {}
    for script in reversed(list(history().walk_revisions())):
        for change in getattr(script.module, "CHANGES", []):
            assert change.before == tree.get(change.name), f"{script.revision}: {change.name}"
            tree.pop(change.name, None)
            if change.after is not None:
                tree[change.name] = change.after


@pytest.mark.parametrize("path", REVISIONS, ids=[path.stem for path in REVISIONS])
def test_a_revision_stands_on_its_own(path: Path) -> None:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    imported = {a.name for n in nodes if isinstance(n, ast.Import) for a in n.names} | {
        n.module or "." for n in nodes if isinstance(n, ast.ImportFrom)
    }

    assert {name.partition(".")[0] for name in imported} <= ALLOWED_IMPORTS
    assert "migrations.sqltree" not in imported


def test_history_is_one_line_of_numbered_revisions() -> None:
    revisions = [script.revision for script in history().walk_revisions()]

    assert len(history().get_heads()) == 1
    assert sorted(revisions, reverse=True) == revisions
    assert [path.name[:4] for path in REVISIONS] == sorted(revisions)
