"""A real server for tests: uvicorn's own processes on a loopback port, reached over real sockets."""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from tests.conftest import CRON_SECRET

ROOT = Path(__file__).parent.parent
PATIENCE_SECONDS = 30
# a client must not meet the end of a connection that it has kept for a while
UVICORN = [
    *(sys.executable, "-m", "uvicorn", "--factory", "--timeout-keep-alive", "300", "--no-proxy-headers"),
    "app.main:app_from_environment",
]


@dataclass(frozen=True)
class LiveServer:
    """A running server: where it answers, what it logged, and its processes."""

    process: "subprocess.Popen[bytes]"
    log_file: Path

    @property
    def url(self) -> str:
        """Its address; the system chose the port, so that no two servers meet on one."""
        return found[1] if (found := re.search(r"running on (http://[\d.:]+)", self.log)) else ""

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    @property
    def worker_pids(self) -> list[int]:
        """The processes that serve now, whichever have been replaced since the start."""
        started = [int(pid) for pid in re.findall(r"Started server process \[(\d+)\]", self.log)]
        # a number that went to another program is in another group
        return [pid for pid in started if _group_of(pid) == self.process.pid]

    def client(self, token: str | None = None) -> httpx2.AsyncClient:
        """A client with as many sockets as it has requests under way."""
        return httpx2.AsyncClient(
            base_url=self.url,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=None),
            timeout=PATIENCE_SECONDS,
        )

    async def wait_until_ready(self, starts: int) -> None:
        """Return when that many workers have started in all, and one answers /readyz with 200.

        Raises RuntimeError, with the server's log, when it does not come to that.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            if self.log.count("startup complete") >= starts and await self._is_ready():
                return
            await asyncio.sleep(0.05)
        msg = f"the server did not get ready:\n{self.log}"
        raise RuntimeError(msg)

    async def _is_ready(self) -> bool:
        try:
            async with self.client() as client:
                return (await client.get("/readyz")).is_success
        except httpx2.TransportError:
            return False

    def kill(self) -> None:
        """End every one of its processes at once, as a power cut would."""
        with contextlib.suppress(ProcessLookupError):  # it has ended
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@asynccontextmanager
async def live_server(dsn: str, *, workers: int = 1, **environment: str) -> AsyncIterator[LiveServer]:
    """Serve the installation in that database until the block ends; upper-case keywords are settings."""
    with tempfile.TemporaryDirectory() as folder:
        log_file = Path(folder, "log")
        process = _serve(log_file, ["--workers", str(workers)], {"DATABASE_URL": dsn, **environment})
        server = LiveServer(process, log_file)
        try:
            await server.wait_until_ready(workers)
            yield server
        finally:
            server.kill()


def _serve(log_file: Path, options: list[str], environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    inherited = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "TMPDIR", "LANG"}}
    with log_file.open("wb") as log:
        return subprocess.Popen(
            [*UVICORN, "--app-dir", str(ROOT), "--port", "0", "--no-access-log", *options],
            # away from the checkout, whose .env is somebody's own
            cwd=log_file.parent,
            env={**inherited, "CRON_SECRET": CRON_SECRET, **environment},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None
