"""Start the embedded Postgres or join the one that runs; the last one out stops it."""

import atexit
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from app.embedded.account import Account
from app.embedded.binaries import find_binaries, usable_by
from app.embedded.cluster import DATABASE, ROLE, Cluster
from app.embedded.errors import EmbeddedPostgresError
from app.embedded.locks import Attendance
from app.embedded.postmaster import Postmaster


def default_data_dir() -> Path:
    """Return where the data lies unless DATA_DIR says otherwise.

    For root it is a folder below /var/lib, since the account that root must run Postgres as
    cannot enter root's home.
    """
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/lib/holdfast")
    data_home = Path(os.environ.get("XDG_DATA_HOME", ""))
    # The XDG specification has relative paths ignored.
    return (data_home if data_home.is_absolute() else Path.home() / ".local/share") / "holdfast"


def start(data_dir: Path, *, durable: bool = True, pg_bin: Path | None = None) -> "EmbeddedPostgres":
    """Return the server on `data_dir`, started if none runs there and made if there is none.

    Any number of processes may call this at once. `durable=False` trades crash safety for speed
    and is meant for tests. `pg_bin` names the programs to use, see `find_binaries`.
    Raises EmbeddedPostgresError, which says what to do, when there can be no server.
    """
    account = Account.choose()
    binaries = usable_by(account, find_binaries(pg_bin))
    data_dir = data_dir.expanduser().absolute()
    try:
        account.make_reachable(data_dir)
        return EmbeddedPostgres(data_dir, Cluster(data_dir / "postgres", binaries, account), durable=durable)
    except OSError as error:
        message = f"DATA_DIR={data_dir} cannot be used by user {account.name!r}: {error}"
        raise EmbeddedPostgresError(message) from error


@contextmanager
def temporary(*, pg_bin: Path | None = None) -> Iterator["EmbeddedPostgres"]:
    """Serve an empty cluster that is fast, not durable, and removed afterwards: for tests.

    Raises EmbeddedPostgresError as `start` does.
    """
    with tempfile.TemporaryDirectory(prefix="holdfast-", ignore_cleanup_errors=True) as folder:
        data_dir = Path(folder)
        data_dir.chmod(Account.choose().passage_mode)
        with start(data_dir, durable=False, pg_bin=pg_bin) as server:
            yield server


class EmbeddedPostgres:
    """Our use of a running server, from `start` until `stop` or the end of the `with` block."""

    data_dir: Path
    socket_dir: Path
    url: str
    """Understood by asyncpg, psql and every other libpq program."""
    started_here: bool
    """Whether the server was down before we came."""

    def __init__(self, data_dir: Path, cluster: Cluster, *, durable: bool) -> None:
        """Count as a user of the server from now on, and start it if there is none."""
        self.data_dir = data_dir
        self._cluster = cluster
        self._attendance = Attendance(data_dir)
        self._process = os.getpid()
        atexit.register(self.stop)
        try:
            with self._attendance.turn():
                self._attendance.join()
                server = self._arrive(durable=durable)
        except BaseException:
            self.stop()
            raise
        self.socket_dir = server.socket_dir
        host = quote(str(server.socket_dir))
        self.url = f"postgresql://{ROLE}@/{DATABASE}?host={host}&port={server.port}"

    def stop(self) -> None:
        """Be a user no longer; the last one stops the server, unless a person started it by hand.

        May be called again. Raises EmbeddedPostgresError when the server does not stop.
        """
        # A forked child runs our exit handler too, but the server is not its to stop.
        if self._attendance.is_over or self._process != os.getpid():
            return
        with self._attendance.turn():
            if self._attendance.is_last():
                self._cluster.stop()
            self._attendance.leave()
        self._attendance.close()
        atexit.unregister(self.stop)

    def __enter__(self) -> Self:
        """Return the server itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop, whatever happened."""
        self.stop()

    def _arrive(self, *, durable: bool) -> Postmaster:
        self._cluster.prepare(durable=durable)
        server = self._cluster.server()
        self.started_here = server is None
        if server is None:
            return self._cluster.start(durable=durable)
        if durable and self._cluster.is_disposable():
            message = f"the server on {self.data_dir} was started for tests and keeps nothing safe"
            raise EmbeddedPostgresError(message)
        return server
