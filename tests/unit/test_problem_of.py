"""problem_of: what an error from the database amounts to for a client."""

import json

import asyncpg
import pytest

from app.errors import CONSTRAINTS, SQLSTATES, Problem, problem_of


def postgres_error(sqlstate: str, **fields: str) -> asyncpg.PostgresError:
    """The error as asyncpg makes it of the server's message."""
    error = asyncpg.PostgresError.new({"S": "ERROR", "C": sqlstate, "M": "refused", **fields})
    assert isinstance(error, asyncpg.PostgresError)
    return error


@pytest.mark.parametrize(("sqlstate", "code"), SQLSTATES.items())
def test_a_known_sqlstate_is_its_code(sqlstate: str, code: str) -> None:
    assert problem_of(postgres_error(sqlstate)).code == code


def test_a_refusal_of_ours_brings_its_facts() -> None:
    problem = problem_of(postgres_error("SB002", D=json.dumps({"remaining_bookings": 0})))

    assert (problem.code, problem.facts) == ("slot_full", {"remaining_bookings": 0})


@pytest.mark.parametrize(("constraint", "code"), CONSTRAINTS.items())
def test_the_second_barrier_speaks_like_the_first(constraint: str, code: str) -> None:
    assert problem_of(postgres_error("23514", n=constraint)).code == code


@pytest.mark.parametrize("sqlstate", ["08000", "08003", "08006", "57P01"])
def test_a_connection_that_broke_under_way_leaves_the_outcome_open(sqlstate: str) -> None:
    assert problem_of(postgres_error(sqlstate)).code == "outcome_unknown"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TimeoutError(), "outcome_unknown"),
        (ConnectionRefusedError(), "unavailable"),
        (FileNotFoundError(), "unavailable"),
        (asyncpg.InterfaceError("pool is closing"), "unavailable"),
        (ZeroDivisionError(), "internal"),
    ],
)
def test_an_error_around_the_database_says_whether_anything_can_have_happened(error: Exception, code: str) -> None:
    assert problem_of(error).code == code


@pytest.mark.parametrize("fields", [{"n": "some_other_check"}, {}])
def test_what_nobody_foresaw_is_ours_and_gives_nothing_away(fields: dict[str, str]) -> None:
    problem = problem_of(postgres_error("23514", D="Failing row contains (ann@example.com)", **fields))

    assert (problem.code, problem.detail, problem.facts) == ("internal", None, {})


def test_a_problem_is_a_known_code_with_a_sentence_of_its_own_or_none() -> None:
    assert (Problem("busy").code, Problem("busy").detail, Problem("busy").facts) == ("busy", None, {})
