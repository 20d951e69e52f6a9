"""The process that serves a cluster, as far as one can tell from outside."""

import os
import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Postmaster:
    """A live server process, as described by the `postmaster.pid` it keeps."""

    pid: int
    port: int
    socket_dir: Path
    is_ready: bool

    @classmethod
    def of(cls, folder: Path) -> "Postmaster | None":
        """Return the process that serves `folder`; None if the file is missing or stale."""
        try:
            lines = (folder / "postmaster.pid").read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return None
        # A server that has just begun has not written every line yet.
        pid, _, _, port, socket_dir, _, _, status, *_ = *lines, *("",) * 8
        found = cls(
            # A single-user Postgres signs with a minus.
            pid=_number(pid.removeprefix("-")),
            port=_number(port),
            socket_dir=folder / socket_dir,
            is_ready=status.strip() in {"ready", "standby"},
        )
        return found if found._is_alive() else None

    def _is_alive(self) -> bool:
        # The socket is asked first: it also answers from another container on the same volume,
        # where the process number means nothing.
        with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
            probe.settimeout(1)
            probe.connect(str(self.socket_dir / f".s.PGSQL.{self.port}"))
            return True
        return _is_postgres(self.pid)


def _number(text: str) -> int:
    # A disk that was full or lost power may leave anything in the file.
    return int(text) if text.isdecimal() else 0


def _is_postgres(pid: int) -> bool:
    """Tell a living Postgres from a number that went to another program, or to a zombie."""
    if not pid:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    try:
        state = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        # Not Linux: believe it, Postgres would do the same.
        return True
    return re.match(r"\d+ \(postgres\) [^ZX]", state) is not None
