"""sql/README.md and the tree under sql/ agree, and nothing in the tree is untested or unused."""

import re
from itertools import groupby

import pytest

from migrations import sqltree
from tests.contracts.support import ROOT, without_comments

TREE = sqltree.current()
FUNCTIONS = [name.removeprefix("functions/") for name in TREE if name.startswith("functions/")]
README = (ROOT / "sql" / "README.md").read_text()
ENTRY = re.compile(r"^- \[`(\w+)`\]\((\w+)/(\w+)\.sql\): (\S.*)$", re.MULTILINE)


def test_the_index_lists_every_object_once_and_nothing_else() -> None:
    listed = [f"{kind}/{stem}" for _, kind, stem, _ in ENTRY.findall(README)]

    assert sorted(listed) == sorted(TREE)


def test_each_entry_is_named_as_its_file_and_says_what_it_promises_on_one_line() -> None:
    index = README.partition("## The objects")[2]
    lines = [line for line in index.splitlines() if line.startswith("- ")]

    assert len(lines) == len(TREE)
    assert [line for line in lines if not (match := ENTRY.match(line)) or match[1] != match[3]] == []


def test_no_group_is_empty() -> None:
    marks = [line[:2] for line in README.partition("## The objects")[2].splitlines() if line[:2] in {"##", "- "}]

    assert [len(list(run)) for mark, run in groupby(marks) if mark == "##"] == [1] * marks.count("##")


def test_nothing_lies_under_sql_that_is_not_in_the_index() -> None:
    files = {str(path.relative_to(ROOT / "sql")) for path in (ROOT / "sql").rglob("*") if path.is_file()}

    lists = set(re.findall(r"\]\((roles/\w+\.txt)\)", README))
    assert files == {"README.md"} | {f"{name}.sql" for name in TREE} | lists


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_named_in_a_test(name: str) -> None:
    tests = [path for path in (ROOT / "tests" / "sql").glob("test_*.py") if re.search(rf"\b{name}\b", path.read_text())]

    assert tests


# to features whose jobs are done inside the database
OFFERED = {"complete_leased_job"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_called(name: str) -> None:
    others = [without_comments(text) for object_name, text in TREE.items() if object_name != f"functions/{name}"]
    app = [path.read_text() for path in (ROOT / "app").rglob("*.py")]
    # defaults of columns, and row-level policies
    revisions = [path.read_text() for path in (ROOT / "migrations" / "versions").glob("*.py")]
    policies = [*revisions, *((ROOT / place).read_text() for place in ("sql/roles/rows.txt", "migrations/roles.py"))]

    assert (
        name in OFFERED
        or any(re.search(rf"\b{name}\(", text) for text in others)
        or any(f'"{name}"' in text for text in app)
        or any(f"DEFAULT {name}(" in text for text in revisions)
        or any(f"(SELECT {name}(" in text for text in policies)
    )
