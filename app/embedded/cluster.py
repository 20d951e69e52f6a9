"""One Postgres cluster on disk: make it, start it, see whether it runs, stop it."""

import os
import shlex
import shutil
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from app.embedded.account import Account
from app.embedded.binaries import major_of
from app.embedded.errors import EmbeddedPostgresError
from app.embedded.postmaster import Postmaster

ROLE = DATABASE = "holdfast"
_PATIENCE_SECONDS = 60
_LOG_LINES = 15
_SOCKET = ".s.PGSQL.5432"
_STILL_IN_USE = "shared memory block"
# macOS has the shortest socket addresses: 104 bytes with the closing NUL.
_LONGEST_SOCKET_PATH = 103
# Settings are given on the command line, which Postgres keeps in postmaster.opts: so the first
# one tells our servers from those that a person started by hand on the same folder.
_OURS = "cluster_name=holdfast"
_SETTINGS = (
    _OURS,
    "listen_addresses=",
    "unix_socket_permissions=0700",
    "max_connections=200",
    "shared_buffers=128MB",
    "timezone=UTC",
    "log_timezone=UTC",
)
_DURABLE = ("fsync=on", "synchronous_commit=on", "full_page_writes=on")
_DISPOSABLE = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


class Cluster:
    """The cluster in one folder, with the programs and the account to serve it."""

    def __init__(self, folder: Path, binaries: Path, account: Account) -> None:
        """Describe the cluster; nothing is touched."""
        self._folder = folder
        self._binaries = binaries
        self._account = account

    def prepare(self, *, durable: bool) -> None:
        """Make the cluster; one that exists must fit the programs and the account.

        Raises EmbeddedPostgresError when it does not fit or cannot be made.
        """
        if os.path.lexists(self._folder):
            self._check_fit()
        else:
            self._make(durable=durable)

    def server(self) -> Postmaster | None:
        """Return the running server, None if there is none; waits while it starts or stops.

        Raises EmbeddedPostgresError when it does neither within a minute.
        """
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while (found := Postmaster.of(self._folder)) is not None and not found.is_ready:
            if time.monotonic() > deadline:
                message = f"process {found.pid} holds {self._folder} but takes no connections"
                raise EmbeddedPostgresError(message + self._log_tail())
            time.sleep(0.02)
        return found

    def start(self, *, durable: bool) -> Postmaster:
        """Start the server and wait until it takes connections; none may be running.

        Raises EmbeddedPostgresError, with the end of the server's log, when it does not come up.
        """
        # Postgres takes any process with the number in such a file for a rival; in a container
        # that was killed and started anew, it is most likely some other program.
        for stale in ("postmaster.pid", f"{_SOCKET}.lock"):
            (self._folder / stale).unlink(missing_ok=True)
        socket_dir = self._make_socket_dir()
        settings = (
            *_SETTINGS,
            *(_DURABLE if durable else _DISPOSABLE),
            f"unix_socket_directories={socket_dir}",
        )
        try:
            self._launch(shlex.join(f"-c{setting}" for setting in settings))
        except BaseException:
            self._remove_socket_dir(socket_dir)
            raise
        server = self.server()
        if server is None:
            message = f"the server in {self._folder} came up and went down at once"
            raise EmbeddedPostgresError(message + self._log_tail())
        return server

    def stop(self) -> None:
        """Stop the server and wait until it has finished; one that is not ours is left alone.

        Raises EmbeddedPostgresError when it does not stop within a minute.
        """
        server = Postmaster.of(self._folder)
        if server is None or _OURS not in self._command_line():
            return
        try:
            self._pg_ctl("stop", "--mode=fast")
        except EmbeddedPostgresError:
            # A service manager may stop the server in the same moment as us.
            if Postmaster.of(self._folder) is not None:
                raise
        self._remove_socket_dir(server.socket_dir)

    def is_disposable(self) -> bool:
        """Whether the server was started without durability."""
        return _DISPOSABLE[0] in self._command_line()

    def _check_fit(self) -> None:
        status = self._folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != self._account.uid:
            message = (
                f"{self._folder} belongs to uid {status.st_uid}, but Postgres would run as user "
                f"{self._account.name!r} (uid {self._account.uid}); start Holdfast as the user "
                "who made it, or choose another DATA_DIR"
            )
            raise EmbeddedPostgresError(message)
        try:
            made_by = int((self._folder / "PG_VERSION").read_text())
        except FileNotFoundError:
            message = f"{self._folder} is no Postgres data folder; choose another DATA_DIR"
            raise EmbeddedPostgresError(message) from None
        ours = major_of(self._binaries)
        if made_by != ours:
            message = (
                f"{self._folder} was made by PostgreSQL {made_by}, but the programs found in "
                f"{self._binaries} are PostgreSQL {ours}. To go on with {made_by}, set PG_BIN to "
                f"its bin folder. To move to {ours}, save the data with pg_dump while {made_by} "
                f"serves it, choose a new DATA_DIR, and load it there with psql"
            )
            raise EmbeddedPostgresError(message)

    def _make(self, *, durable: bool) -> None:
        # Made under another name, so that the cluster is there as a whole or not at all.
        draft = self._folder.with_name(f"{self._folder.name}.new")
        try:
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(mode=0o700)
            self._account.own(draft)
            self._account.run(
                self._binaries / "initdb",
                f"--pgdata={draft}",
                f"--username={ROLE}",
                "--auth-local=trust",
                "--auth-host=reject",
                "--encoding=UTF8",
                "--locale=C",
                "--data-checksums",
                "--no-instructions",
                *(() if durable else ("--no-sync",)),
            )
            self._account.run(
                self._binaries / "postgres",
                "--single",
                *("-D", draft, "-c", "exit_on_error=on"),
                *("-c", f"fsync={'on' if durable else 'off'}"),
                "postgres",
                stdin=f"CREATE DATABASE {DATABASE}\n",
            )
            draft.rename(self._folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def _make_socket_dir(self) -> Path:
        """Return the folder itself or, if no socket address can name it, a short private one.

        Those who attach read it from `postmaster.pid`, which nobody else can write.
        """
        address = os.fsencode(self._folder / _SOCKET)
        if len(address) <= _LONGEST_SOCKET_PATH and b"," not in address:
            return self._folder
        # Not in TMPDIR, which may be as long.
        private = Path(tempfile.mkdtemp(prefix="holdfast-", dir="/tmp"))
        self._account.own(private)
        return private

    def _remove_socket_dir(self, socket_dir: Path) -> None:
        if socket_dir != self._folder:
            with suppress(OSError):
                socket_dir.rmdir()

    def _launch(self, options: str) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                return self._pg_ctl("start", "--log=server.log", f"--options={options}")
            except EmbeddedPostgresError as error:
                log = self._log_tail()
                # The sessions of a server that was killed finish their statements before they go.
                if _STILL_IN_USE not in log or time.monotonic() > deadline:
                    message = f"{error}{log}"
                    raise EmbeddedPostgresError(message) from error
            time.sleep(0.1)

    def _pg_ctl(self, action: str, *options: str) -> None:
        # pg_ctl passes --pgdata through a shell without quoting it fully; PGDATA it does not.
        self._account.run(
            self._binaries / "pg_ctl",
            action,
            "--silent",
            "--wait",
            f"--timeout={_PATIENCE_SECONDS}",
            *options,
            cwd=self._folder,
            environment={"PGDATA": str(self._folder)},
        )

    def _command_line(self) -> str:
        try:
            return (self._folder / "postmaster.opts").read_text()
        except FileNotFoundError:
            return ""

    def _log_tail(self) -> str:
        try:
            # Read as the account, lest a symlink in its folder shows what only root may see.
            tail = self._account.run("tail", "-n", str(_LOG_LINES), self._folder / "server.log")
        except EmbeddedPostgresError:
            return ""
        return f"\nthe end of {self._folder / 'server.log'}:\n{tail}"
