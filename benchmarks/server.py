"""What is measured: a durable Postgres of our own, and the API as it is served in production."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from app import embedded
from app.embedded.account import Account
from app.settings import Settings
from benchmarks.database import BackDoor
from benchmarks.plan import CONNECTIONS, WORKERS

ROOT = Path(__file__).parent.parent
START_SECONDS = 30
STOP_SECONDS = 15
# what a listener asks, last of all, whether it still is one
IS_LISTENING = """
SELECT EXISTS (
  SELECT FROM pg_stat_activity
  WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE '%pg_listening_channels%'
)
"""


@contextmanager
def durable_postgres(pg_bin: Path | None) -> Iterator[embedded.EmbeddedPostgres]:
    """Serve an empty cluster that keeps what it commits, and remove it afterwards."""
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-", ignore_cleanup_errors=True) as folder:
        data_dir = Path(folder)
        # root's Postgres runs as somebody else, who must get in
        data_dir.chmod(Account.choose().passage_mode)
        with embedded.start(data_dir, durable=True, pg_bin=pg_bin) as server:
            yield server


def settings_for(url: str) -> Settings:
    """Settings of this installation alone: validated, not read, so that the environment changes nothing."""
    return Settings.model_validate({"database_url": url, "db_pool_size": CONNECTIONS // WORKERS, "log_level": "error"})


@contextmanager
def api(settings: Settings) -> Iterator[int]:
    """Serve the API from real processes; yields the port, once it is ready."""
    port = _free_port()
    command = [
        *(sys.executable, "-m", "uvicorn", "--factory", "app.main:app_from_environment"),
        *("--host", "127.0.0.1", "--port", str(port), "--workers", str(WORKERS)),
        *("--no-access-log", "--log-level", "warning"),
    ]
    with _running(command, settings) as process:
        _wait_until_ready(process, port)
        yield port


@contextmanager
def worker(settings: Settings) -> Iterator[None]:
    """A worker in a process of its own, for as long as the block runs, which begins when it listens."""
    with _running([sys.executable, "-m", "app.cli", "worker"], settings) as process:
        _wait_until_listening(process, BackDoor(settings.dsn))
        yield


@contextmanager
def _running(command: list[str], settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **_environment(settings)})
    try:
        yield process
    finally:
        _stop(process)


def _environment(settings: Settings) -> dict[str, str]:
    return {
        "DATABASE_URL": settings.dsn,
        "DB_SCHEMA": settings.db_schema,
        "DB_POOLER": settings.db_pooler,
        "DB_POOL_SIZE": str(settings.db_pool_size),
        "LOG_LEVEL": settings.log_level,
        "CORS_ORIGINS": "",
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _is_ready(port):
        if process.poll() is not None or time.monotonic() > deadline:
            msg = "the API did not come up; what it said is above"
            raise RuntimeError(msg)
        time.sleep(0.05)


def _wait_until_listening(process: subprocess.Popen[bytes], database: BackDoor) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not database.run(lambda connection: connection.fetchval(IS_LISTENING)):
        if process.poll() is not None or time.monotonic() > deadline:
            msg = "the worker did not come up; what it said is above"
            raise RuntimeError(msg)
        time.sleep(0.05)


def _is_ready(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _stop(process: subprocess.Popen[bytes]) -> None:
    # uvicorn's parent takes its workers with it
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
