"""A whole installation of real processes, of which any may be killed at any moment, and is started again."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path

import asyncpg
import httpx2

from app import embedded
from app.embedded.account import Account
from app.migrate import migrate
from tests.conftest import settings_for

ROOT = Path(__file__).parents[2]
PATIENCE = 60
VICTIMS = ("api", "worker", "postgres")
Processes = dict[str, "subprocess.Popen[bytes]"]


class Installation:
    """Postgres, the API and a worker, from the commands that people start them with."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self._processes: Processes = {}
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        self.url = self._start_postgres()

    def _start_postgres(self) -> str:
        found = os.environ.get("PG_BIN")
        # durable, for what is proven is that nothing is lost
        server = embedded.start(self._folder, durable=True, pg_bin=Path(found) if found else None)
        return self._stack.enter_context(server).url

    def start(self, name: str) -> None:
        """Start the API or the worker; `until_ready` says when it is there."""
        command = ["serve", "--port", str(self.port)] if name == "api" else ["worker"]
        environment = {key: os.environ[key] for key in ("PATH", "HOME", "TMPDIR", "LANG") if key in os.environ}
        with (self._folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", "app.cli", *command],
                cwd=self._folder,
                env=environment | {"PYTHONPATH": str(ROOT), "DATABASE_URL": self.url, "LOG_LEVEL": "error"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self, name: str) -> None:
        """End it as a power cut would."""
        if name == "postgres":
            os.kill(int((self._folder / "postgres" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
            return
        os.killpg(self._processes[name].pid, signal.SIGKILL)
        self._processes[name].wait()

    async def revive(self, name: str) -> None:
        """Start what was killed, and return when the API serves again."""
        if name == "postgres":
            assert await asyncio.to_thread(self._start_postgres) == self.url
        else:
            self.start(name)
        await self.until_ready()

    async def until_ready(self) -> None:
        """Return when the API says that it can serve."""
        async with asyncio.timeout(PATIENCE), httpx2.AsyncClient(base_url=f"http://127.0.0.1:{self.port}") as client:
            while not await _is_ready(client):  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0.02)

    def kill_all(self) -> None:
        """Leave nothing behind."""
        for name, process in self._processes.items():
            if process.poll() is None:
                self.kill(name)

    def log(self) -> str:
        """What the API and the worker said."""
        return "".join((self._folder / f"{name}.log").read_text(errors="replace") for name in self._processes)


async def _is_ready(client: httpx2.AsyncClient) -> bool:
    try:
        return (await client.get("/readyz")).is_success
    except httpx2.TransportError:
        return False


@asynccontextmanager
async def installed() -> AsyncIterator[Installation]:
    """An installation that is up, and gone afterwards."""
    async with AsyncExitStack() as last:
        folder = last.enter_context(tempfile.TemporaryDirectory(prefix="holdfast-kill-", ignore_cleanup_errors=True))
        Path(folder).chmod(Account.choose().passage_mode)  # noqa: ASYNC240 - of a new folder
        installation = Installation(Path(folder), last.enter_context(ExitStack()))
        last.callback(installation.kill_all)
        await asyncio.to_thread(migrate, settings_for(installation.url))
        installation.start("api")
        installation.start("worker")
        await installation.until_ready()
        yield installation


async def until(conn: asyncpg.Connection, condition: str, explain: Callable[[], str]) -> None:
    """Return when the condition holds. Raises AssertionError, with an explanation, when it never does."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not await conn.fetchval(f"SELECT {condition}"):  # noqa: ASYNC110 - of the database
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(explain()) from None
