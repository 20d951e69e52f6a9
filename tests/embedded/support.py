"""What the tests of this folder share."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import app
from app import embedded
from app.embedded.account import Account
from app.embedded.postmaster import Postmaster

REPOSITORY = Path(app.__file__).parents[1]
OLD_BINARIES = Path("/usr/lib/postgresql/15/bin")


def query(url: str, statement: str) -> str:
    """Return what a statement answers through psql, and so through libpq."""
    psql = embedded.find_binaries() / "psql"
    command = (psql, url, "--no-psqlrc", "-qAt", "-v", "ON_ERROR_STOP=1", "-c", statement)
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def postmaster_on(data_dir: Path) -> Postmaster | None:
    """Return the live server on a data folder."""
    return Postmaster.of(data_dir / "postgres")


def pg_ctl_by_hand(data_dir: Path, action: str, *options: str) -> None:
    """Do what a person does who knows nothing of Holdfast."""
    cluster = data_dir / "postgres"
    pg_ctl = embedded.find_binaries() / "pg_ctl"
    Account.choose().run(pg_ctl, action, "-w", "-D", cluster, *options, cwd=cluster)


class Holder:
    """Another process that uses the server on a folder, from `go` until it is told to leave."""

    def __init__(self, data_dir: Path) -> None:
        """Start the process and wait until it is about to begin."""
        self.process = subprocess.Popen(
            (sys.executable, Path(__file__).with_name("hold.py"), data_dir),
            env={**os.environ, "PYTHONPATH": os.pathsep.join((str(REPOSITORY), *sys.path))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._hear() == "here\n"

    def go(self) -> Self:
        """Let it use the server."""
        self._nudge()
        return self

    def started_the_server(self) -> bool:
        """Wait until it uses the server; tell whether it was the one to start it."""
        facts = json.loads(self._hear())
        assert query(facts["url"], "SELECT current_user") == "holdfast"
        return bool(facts["started_here"])

    def begin_to_leave(self) -> None:
        """Let it end in good order, without waiting."""
        self._nudge()

    def leave(self) -> int:
        """Let it end in good order; return its exit status."""
        self.begin_to_leave()
        return self.process.wait(timeout=10)

    def __enter__(self) -> Self:
        """Return the holder."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave no process behind."""
        self.process.kill()
        self.process.communicate()

    def _nudge(self) -> None:
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def _hear(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline()
