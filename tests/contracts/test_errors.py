"""One list of refusals: what SQL raises, what the app knows, what the page explains, what a test proves."""

import re

import asyncpg
import pytest

from app.errors import CODES, CONSTRAINTS, SQLSTATES
from migrations import sqltree
from tests.contracts.support import ROOT, code_of_tests, without_comments

TREE = sqltree.current()
OURS = {sqlstate: slug for sqlstate, slug in SQLSTATES.items() if sqlstate.startswith("SB")}
TESTS = code_of_tests()
PAGE = (ROOT / "docs" / "errors.md").read_text()


def raised_in(text: str) -> set[tuple[str, str]]:
    """The SQLSTATEs that a file raises, each with its slug; a CASE names them in the same order."""
    pairs: set[tuple[str, str]] = set()
    for statement in re.findall(r"\bRAISE EXCEPTION\b.*?;", without_comments(text), re.DOTALL):
        message, _, using = statement.partition("USING")
        slugs = re.findall(r"'([a-z_]+)'", message)
        sqlstates = re.findall(r"'(SB\d{3})'", using.partition("DETAIL")[0])
        pairs |= set(zip(sqlstates, slugs, strict=True))
    return pairs


def test_what_sql_raises_the_app_knows_by_the_same_slug_and_the_other_way_round() -> None:
    raised = {pair for text in TREE.values() for pair in raised_in(text)}

    assert raised == set(OURS.items())


def test_every_raise_is_one_of_ours() -> None:
    assert [name for name, text in TREE.items() if text.count("RAISE EXCEPTION") > len(raised_in(text))] == []


@pytest.mark.parametrize("name", [name for name, text in TREE.items() if "SB0" in text])
def test_a_comment_names_an_error_as_it_is_called(name: str) -> None:
    for sqlstate, slug in re.findall(r"(SB\d{3}) (\w+)", "\n".join(re.findall(r"--[^\n]*", TREE[name]))):
        assert OURS[sqlstate] == slug


@pytest.mark.parametrize("name", [name for name, text in TREE.items() if raised_in(text)])
def test_a_function_that_raises_says_so_at_its_top(name: str) -> None:
    opening = TREE[name].partition("CREATE")[0]

    assert [sqlstate for sqlstate, _ in raised_in(TREE[name]) if sqlstate not in opening] == []


def test_every_refusal_the_app_maps_to_is_a_code() -> None:
    assert {*SQLSTATES.values(), *CONSTRAINTS.values()} <= CODES.keys()


async def test_every_constraint_the_app_knows_exists(conn: asyncpg.Connection) -> None:
    rows = await conn.fetch("SELECT conname FROM pg_constraint WHERE connamespace = 'holdfast'::regnamespace")

    assert CONSTRAINTS.keys() <= {row["conname"] for row in rows}


def test_the_page_explains_every_code_once_with_its_status_and_whether_to_try_again() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \| (\d{3}) \| (yes|no) \|", PAGE, re.MULTILINE)

    assert sorted(rows) == sorted((name, str(c.status), "yes" if c.retryable else "no") for name, c in CODES.items())
    assert len(re.findall(r"^\| `", PAGE, re.MULTILINE)) == len(rows)


def test_the_page_says_which_functions_raise_what() -> None:
    rows = re.findall(r"^\| `?(SB\d{3})`? \| `?(\w+)`? \| (.+) \|$", PAGE, re.MULTILINE)
    raised = {(pair, name.removeprefix("functions/")) for name, text in TREE.items() for pair in raised_in(text)}

    told = {((sqlstate, slug), name) for sqlstate, slug, names in rows for name in re.findall(r"\w+", names)}
    assert told == raised


def test_the_page_says_what_each_constraint_means() -> None:
    rows = re.findall(r"^\| `?(\w+_check)`? \| `?(\w+)`? \|$", PAGE, re.MULTILINE)

    assert dict(rows) == CONSTRAINTS


@pytest.mark.parametrize("code", CODES)
def test_a_code_is_proved_by_a_test(code: str) -> None:
    assert re.search(rf"""["'`]{code}["'`]""", TESTS)
