"""`holdfast serve` and `demo` on the embedded Postgres: they leave nothing running behind."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import pytest

from tests.factories import make_api_key

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 60


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="holdfast-test-", ignore_cleanup_errors=True) as folder:
        # run by root, the server has an account of its own that must pass through here
        Path(folder).chmod(0o711)
        yield Path(folder)


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def start(data_dir: Path, port: int, *arguments: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    return subprocess.Popen(
        [sys.executable, "-m", "app.cli", *arguments],
        cwd=ROOT,
        env=environment | {"DATA_DIR": str(data_dir), "PORT": str(port)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_until_ready(port: int, process: subprocess.Popen[Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[0]
        try:
            if httpx2.get(f"http://127.0.0.1:{port}/readyz").is_success:
                return
        except httpx2.TransportError:
            time.sleep(0.1)
    pytest.fail("the server did not become ready")


def server_runs(data_dir: Path) -> bool:
    return (data_dir / "postgres" / "postmaster.pid").exists()


@pytest.mark.parametrize(("workers", "ending"), [("1", signal.SIGINT), ("2", signal.SIGTERM)])
def test_serve_stops_its_postgres_when_it_is_stopped(
    data_dir: Path, port: int, workers: str, ending: signal.Signals
) -> None:
    process = start(data_dir, port, "serve", "--workers", workers)
    wait_until_ready(port, process)
    assert server_runs(data_dir)

    process.send_signal(ending)
    process.communicate(timeout=PATIENCE)

    assert not server_runs(data_dir)


async def test_serve_believes_no_proxy_that_it_was_not_told_of_and_does_not_name_its_server(
    dsn: str, conn: asyncpg.Connection, port: int
) -> None:
    key = await make_api_key(conn, "admin")
    process = subprocess.Popen(  # noqa: ASYNC220 - it starts while we wait
        [sys.executable, "-m", "app.cli", "serve"], cwd=ROOT, env=os.environ | {"DATABASE_URL": dsn, "PORT": str(port)}
    )
    try:
        wait_until_ready(port, process)
        answer = httpx2.post(
            f"http://127.0.0.1:{port}/v1/resources",
            json={"name": "Pitch", "timezone": "UTC"},
            headers={"Authorization": f"Bearer {key}", "X-Forwarded-For": "198.51.100.1"},
        )
    finally:
        process.terminate()
        process.wait(PATIENCE)

    assert answer.status_code == 201
    assert "server" not in answer.headers
    recorded = "SELECT host(ip_address) FROM audit_log WHERE event = 'resource.created'"
    assert await conn.fetchval(recorded) == "127.0.0.1"


def test_the_demo_may_be_told_again_on_the_same_data_while_another_serves(data_dir: Path, port: int) -> None:
    first = start(data_dir, port, "demo")
    assert first.stdout
    said = ""
    while "Ctrl-C" not in said:
        said = first.stdout.readline()
        assert said, "it ended"

    again = start(data_dir, 0, "demo", "--once")
    story, _ = again.communicate(timeout=PATIENCE)
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=PATIENCE)

    assert again.returncode == 0, story
    assert "5 booked, 45 were told slot_full" in story
    assert "12 have one" in story
    assert not server_runs(data_dir)


def test_a_taken_port_is_said_in_a_sentence(data_dir: Path, port: int) -> None:
    with socket.create_server(("127.0.0.1", port)):
        process = start(data_dir, port, "demo", "--once")
        said, _ = process.communicate(timeout=PATIENCE)

    assert process.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in said
    assert not server_runs(data_dir)
