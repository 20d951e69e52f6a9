"""Fixtures of the embedded-Postgres tests; they need nothing of the application."""

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest


@pytest.fixture
def scratch() -> Iterator[Path]:
    """Give a short folder that every account can pass through, unlike tmp_path under root."""
    with tempfile.TemporaryDirectory(prefix="hf-", dir="/tmp", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        for pid_file in folder.glob("**/postmaster.pid"):
            with suppress(ProcessLookupError, ValueError):
                os.kill(int(pid_file.read_text().split()[0]), signal.SIGQUIT)


@pytest.fixture
def data_dir(scratch: Path) -> Path:
    """Give a data folder that does not exist yet."""
    return scratch / "data"
