"""docs/failure-modes.md names no test and no measurement that is not there."""

import ast
import re

from benchmarks.queues.__main__ import MEASUREMENTS
from tests.contracts.support import ROOT

TEXT = (ROOT / "docs" / "failure-modes.md").read_text()
ROWS = re.findall(r"^\| (F\d+) \| [^|]+ \| ([^|]+) \|$", TEXT, re.MULTILINE)
NAMED = re.findall(r"`([\w/]+\.py)::(\w+)`", TEXT)


def functions_of(path: str) -> set[str]:
    tree = ast.parse((ROOT / "tests" / path).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_failure_has_a_line() -> None:
    assert [name for name, _ in ROWS] == [f"F{n}" for n in range(1, 31)]


def test_every_failure_has_a_test_or_a_measurement_or_is_said_not_to_apply() -> None:
    assert [name for name, proof in ROWS if not re.search(r"\.py::test_|--only \w|Not applicable", proof)] == []


def test_every_test_it_names_is_there() -> None:
    assert [f"{path}::{test}" for path, test in NAMED if test not in functions_of(path)] == []


def test_every_measurement_it_names_is_there() -> None:
    assert set(re.findall(r"--only (\w+)", TEXT)) <= MEASUREMENTS.keys()
