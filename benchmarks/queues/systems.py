"""The systems that are compared: each a process of its own that does what it is told and says one line of JSON."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.queues.install import BIN, PEERS, install_peers
from benchmarks.server import ROOT

OURS = "Holdfast"
PATIENCE = 900


@dataclass(frozen=True)
class System:
    """A queue under test; without a command where it could not be installed."""

    name: str
    command: tuple[str | Path, ...]

    @property
    def slug(self) -> str:
        """Its name as part of a database's name."""
        return self.name.lower().replace("-", "_")

    def run(self, what: str, url: str, count: int) -> dict[str, Any]:
        """What it says. Raises RuntimeError, with what it complained of, when it failed or did another number."""
        done = subprocess.run(
            [*self.command, what, url, str(count)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        answer: dict[str, Any] = {} if done.returncode else json.loads(done.stdout.splitlines()[-1])
        if not answer or answer.get("done", count) != count:
            msg = f"{self.name} failed to {what} {count} jobs: {answer}\n{done.stdout[-1000:]}{done.stderr[-3000:]}"
            raise RuntimeError(msg)
        return answer


def find_systems(progress: Console) -> list[System]:
    """Ours first, then every peer."""
    python, node = install_peers(progress)
    return [
        System(OURS, (sys.executable, "-m", "benchmarks.queues.holdfast")),
        # -P: a script named as the package that it drives must not be found in its place
        *(_peer(name, (BIN / "python", "-P"), f"{name.lower()}.py", python) for name in ("PgQueuer", "Procrastinate")),
        _peer("pg-boss", (BIN / "node",), "pgboss.mjs", node),
        _peer("graphile-worker", (BIN / "node",), "graphile.mjs", node),
    ]


def _peer(name: str, program: tuple[str | Path, ...], script: str, is_installed: bool) -> System:
    return System(name, (*program, PEERS / script) if is_installed else ())
