"""One ladder of waiting: an installation whose rungs are out of order does not start."""

from typing import Any

import pytest
from pydantic import ValidationError

from app.deadlines import CONNECTION, MARGIN, Deadlines
from app.doctor import examine
from app.jobs.processor import ANSWER_LIMIT
from app.settings import Settings
from tests.conftest import settings_for


def settings(**given: Any) -> Settings:
    return Settings(_env_file=None, **given)


def test_what_knows_most_about_a_delay_gives_up_first() -> None:
    ladder = settings().deadlines

    assert ladder.lock < ladder.statement < ladder.answer < CONNECTION + ladder.answer < ladder.request
    # a caller of the processor is answered within limits of its own, and no later
    assert ladder.request > ANSWER_LIMIT


@pytest.mark.parametrize(
    "wrong",
    [
        {"lock_timeout_seconds": 6},
        {"lock_timeout_seconds": 7},
        {"statement_timeout_seconds": 3},
        {"statement_timeout_seconds": 8},
        {"request_timeout_seconds": 6 + CONNECTION + MARGIN},
        {"request_timeout_seconds": 0},
        {"lock_timeout_seconds": float("nan")},
        {"statement_timeout_seconds": float("inf")},
        {"lock_timeout_seconds": -1},
    ],
)
def test_rungs_out_of_order_are_refused_at_the_start(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match=r"has to be|greater than|finite|less than"):
        settings(**wrong)


def test_a_ladder_of_ones_own_goes_to_the_server_in_milliseconds() -> None:
    assert Deadlines(0.25, 1, 20).server_settings == {
        "lock_timeout": "250ms",
        "statement_timeout": "1000ms",
        "idle_in_transaction_session_timeout": "10000ms",
    }


@pytest.mark.parametrize(
    ("of_the_role", "told"),
    [
        ("", "lock_timeout is off"),
        ("&lock_timeout=9s&statement_timeout=6s", "a lock is waited for 9 s"),
        ("&lock_timeout=1s&statement_timeout=9s", "a request may take 15 s"),
        ("&lock_timeout=3s&statement_timeout=6s", None),
    ],
)
async def test_the_doctor_reads_the_ladder_that_is_in_force_for_a_role(
    dsn: str, capsys: pytest.CaptureFixture[str], of_the_role: str, told: str | None
) -> None:
    # behind a pooler we send no settings of our own
    pooled = settings_for(dsn + of_the_role).model_copy(update={"db_pooler": "transaction"})

    assert await examine(pooled, embedded_server=False) is (told is None)
    assert told is None or told in " ".join(capsys.readouterr().out.split())
