"""The tree stays small and its borders stay where they are."""

import ast
import re
from pathlib import Path

import pytest

from tests.contracts.support import ROOT

# one list of everything, which is read by looking something up
LISTS = {"tables.py"}
MAX_PYTHON_LINES = 300
MAX_SQL_LINES = 100
APP = sorted((ROOT / "app").rglob("*.py"))
SQL = sorted((ROOT / "sql").rglob("*.sql"))
STATEMENT = re.compile(
    r"\b(SELECT\s|INSERT\s+INTO\b|UPDATE\s+\w+\s+SET\b|DELETE\s+FROM\b|TRUNCATE\s|MERGE\s+INTO\b|"
    r"(CREATE|ALTER|DROP)\s+(TABLE|SCHEMA|INDEX|FUNCTION|TRIGGER|TYPE|ROLE|SEQUENCE|VIEW)\b)"
)


def strings_of(path: Path) -> list[str]:
    """Every string of a module that is not a docstring, f-strings included."""
    tree = ast.parse(path.read_text())
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {ast.get_docstring(node, clean=False) for node in ast.walk(tree) if isinstance(node, documented)}
    constants = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return [value for value in constants if isinstance(value, str) and value not in docstrings]


def lines_of(path: Path) -> int:
    return len(path.read_text().splitlines())


def test_no_python_file_of_the_app_is_long() -> None:
    assert [str(path) for path in APP if path.name not in LISTS and lines_of(path) > MAX_PYTHON_LINES] == []


def test_no_sql_file_is_long() -> None:
    assert [str(path) for path in SQL if lines_of(path) > MAX_SQL_LINES] == []


def test_sql_text_lives_in_sql_and_in_the_one_door_to_it() -> None:
    found = {path.relative_to(ROOT) for path in APP if any(STATEMENT.search(text) for text in strings_of(path))}

    assert found == {Path("app/database.py")}


@pytest.mark.parametrize("feature", sorted(path.parent.name for path in (ROOT / "app").glob("*/routes.py")))
def test_a_feature_is_a_folder_of_the_same_small_files(feature: str) -> None:
    names = {path.name for path in (ROOT / "app" / feature).glob("*.py")}

    assert names >= {"__init__.py", "routes.py", "queries.py", "schemas.py"}


def test_queries_are_called_by_their_own_door_alone() -> None:
    imports = re.compile(r"^(import asyncpg|from asyncpg|import sqlalchemy|from sqlalchemy)", re.MULTILINE)
    routes = [path for path in APP if path.name in {"routes.py", "schemas.py"}]

    for path in routes:
        found = [match for match in imports.findall(path.read_text()) if match != "from asyncpg"]
        assert found == [], path
