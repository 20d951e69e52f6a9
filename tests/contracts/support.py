"""Where the things are that must agree with each other."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from app.main import create_app
from tests.conftest import settings_for

ROOT = Path(__file__).parents[2]
METHODS = {"get", "post", "put", "patch", "delete"}


class Operation(NamedTuple):
    """One operation of the API description."""

    method: str
    path: str
    spec: dict[str, Any]

    @property
    def errors(self) -> dict[str, dict[str, Any]]:
        """Its declared refusals: status -> response."""
        return {status: r for status, r in self.spec["responses"].items() if status >= "400"}


def api_description() -> dict[str, Any]:
    """The app's own OpenAPI document, as a client reads it."""
    app = create_app(settings_for("postgresql://nobody@nowhere/nothing"))
    document: dict[str, Any] = json.loads(json.dumps(app.openapi()))
    return document


def operations(document: dict[str, Any]) -> Iterator[Operation]:
    """Every operation it describes."""
    for path, methods in document["paths"].items():
        for method in sorted(METHODS & methods.keys()):
            yield Operation(method, path, methods[method])


def code_of_tests() -> str:
    """Every test's text, except that of these contracts: a list of everything proves nothing."""
    files = [path for path in (ROOT / "tests").rglob("*.py") if "contracts" not in path.parts]
    return "\n".join(path.read_text() for path in files)


def without_comments(sql: str) -> str:
    """A SQL file's text without its comments."""
    return re.sub(r"--[^\n]*", "", sql)
