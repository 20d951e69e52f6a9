"""What tests of jobs share."""

import logging
from collections.abc import Iterator

import pytest
import structlog
from structlog.testing import capture_logs
from structlog.typing import EventDict


@pytest.fixture
def logged() -> Iterator[list[EventDict]]:
    """Whatever is logged, of any level."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET))
    with capture_logs() as entries:
        yield entries
    structlog.configure(**before)
