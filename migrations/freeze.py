"""Freeze what changed in sql/ into a new revision, with the text before it for the way down.

    python -m migrations.freeze "holds end on time"

`sql/` says what the database runs now; revisions are history and never read it, so that a fresh installation
years from now replays what really ran.
"""

import argparse
import ast
import re
from collections.abc import Mapping
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory

from migrations import sqltree
from migrations.frozen import Change

ROOT = Path(__file__).parent.parent

TEMPLATE = '''\
"""{message}.

Revision ID: {revision}
Revises: {down_revision}
"""

from migrations import frozen
from migrations.frozen import Change

revision = "{revision}"
down_revision = "{down_revision}"
branch_labels = None
depends_on = None

CHANGES = [
{changes}]


def upgrade() -> None:
    frozen.upgrade(CHANGES)


def downgrade() -> None:
    frozen.downgrade(CHANGES)
'''


def history() -> ScriptDirectory:
    """Every revision on disk, as Alembic reads them."""
    return ScriptDirectory.from_config(Config(ROOT / "alembic.ini"))


def frozen_tree(scripts: ScriptDirectory) -> dict[str, str]:
    """What the revisions make of sql/ when all have run: object -> text."""
    tree: dict[str, str] = {}
    for script in reversed(list(scripts.walk_revisions())):
        for change in getattr(script.module, "CHANGES", []):
            tree.pop(change.name, None)
            if change.after is not None:
                tree[change.name] = change.after
    return tree


def changes_between(before: Mapping[str, str], after: Mapping[str, str]) -> list[Change]:
    """What has to change to get from one tree to the other, in order of application."""
    names = sorted(before.keys() | after.keys())
    return [Change(name, before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)]


def render(message: str, revision: str, down_revision: str, changes: list[Change]) -> str:
    """The new revision's source text, from which every SQL text reads back exactly."""
    blocks = "".join(
        f'    Change(\n        "{c.name}",\n        {_literal(c.before)},\n        {_literal(c.after)},\n    ),\n'
        for c in changes
    )
    promise = message.replace("\\", r"\\").replace('"""', r"\"\"\"")
    return TEMPLATE.format(message=promise, revision=revision, down_revision=down_revision, changes=blocks)


def _literal(text: str | None) -> str:
    readable = f'r"""{text}"""'
    return readable if text is not None and _reads_back(readable, text) else repr(text)


def _reads_back(literal: str, text: str) -> bool:
    try:
        return bool(ast.literal_eval(literal) == text)
    except (SyntaxError, ValueError):
        return False


def main() -> None:
    """Write the revision, or say that there is nothing to freeze."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("message", help="what the change promises, in a few words")
    message = parser.parse_args().message

    scripts = history()
    changes = changes_between(frozen_tree(scripts), sqltree.current())
    if not changes:
        parser.exit(message="nothing changed in sql/ since the last revision\n")
    head = scripts.get_current_head() or ""
    revision = f"{int(head) + 1:04}"
    slug = re.sub(r"\W+", "_", message.lower()).strip("_")
    path = ROOT / "migrations" / "versions" / f"{revision}_{slug}.py"
    path.write_text(render(message, revision, head, changes))
    parser.exit(message="".join([f"{path.relative_to(ROOT)}\n", *(f"  {c.name}\n" for c in changes)]))


if __name__ == "__main__":
    main()
