"""The id that a request gets when its caller gives none."""

import time
from itertools import pairwise
from uuid import UUID

import pytest

from app.request_id import ACCEPTED_ID, new_request_id


def test_it_is_a_version_7_of_its_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_893_456_000_123_999_999)

    made = UUID(new_request_id())

    assert (made.version, made.variant, made.int >> 80) == (7, "specified in RFC 4122", 1_893_456_000_123)


def test_later_ones_sort_later_and_none_comes_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = []
    for millisecond in range(100):
        monkeypatch.setattr(time, "time_ns", lambda ms=millisecond: (1_893_456_000_000 + ms) * 1_000_000)
        ids.append([new_request_id() for _ in range(20)])

    assert all(max(earlier) < min(later) for earlier, later in pairwise(ids))
    assert len({each for made in ids for each in made}) == 2000
    assert all(ACCEPTED_ID.fullmatch(each) for made in ids for each in made)
