"""Templates: values land where their names stand, and nowhere else."""

import json
from typing import Any
from urllib.parse import unquote

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.adapters.templates import Unfit, fill_header, fill_json, fill_path

SCALARS = st.none() | st.booleans() | st.integers() | st.text()


@given(st.text())
def test_a_value_in_a_path_stays_one_segment(value: str) -> None:
    try:
        path = fill_path("/classes/{target.id}/book", {"target.id": value})
    except Unfit:
        assert value in {"", ".", ".."} or not value.isprintable()
        return

    _, first, segment, last = path.split("/")
    assert (first, unquote(segment), last) == ("classes", value, "book")
    assert path.isascii()
    assert not set("?# ") & set(path)


@given(st.text() | st.text("\r\n\0 aé"))
def test_a_value_in_a_header_stays_in_it(value: str) -> None:
    try:
        text = fill_header("Bearer {token}", {"token": value})
    except Unfit:
        assert not value.isascii() or not value.isprintable() or value.strip() != value or not value
        return

    request = h11.Request(method="GET", target="/", headers=[("Host", "x"), ("Authorization", text)])
    assert dict(request.headers)[b"authorization"] == f"Bearer {value}".encode()


@given(SCALARS)
def test_a_string_that_is_one_name_becomes_the_value(value: object) -> None:
    assert fill_json({"a": ["{target.id}"]}, {"target.id": value}) == {"a": [value]}


@given(st.text())
def test_a_value_is_not_a_template(value: str) -> None:
    filled = fill_json({"a": "<{target.id}>"}, {"target.id": value, "token": "leaked"})

    assert filled == {"a": f"<{value}>"}
    assert json.loads(json.dumps(filled)) == filled


@pytest.mark.parametrize("value", [None, True, [], {}, ["a"]])
def test_what_is_no_text_stands_in_no_text(value: Any) -> None:
    with pytest.raises(Unfit, match=r"target.id is no text and no number"):
        fill_json("for {target.id}", {"target.id": value})


def test_a_name_without_a_value_is_said() -> None:
    with pytest.raises(Unfit, match=r"there is no target.id"):
        fill_path("/{target.id}", {"target.other": 1})
