"""Who the server runs as: ourselves, or an unprivileged account when we are root."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from app.embedded.errors import EmbeddedPostgresError

if sys.platform != "win32":
    import pwd

_PREFERRED_ACCOUNTS = ("postgres", "nobody")
# An interrupt while we launch a command leaves us without a handle on it; the command then finds
# its input closed, and does not begin.
_WHEN_TOLD = 'read -r go && exec "$0" "$@"'


@dataclass(frozen=True)
class Account:
    """An operating-system user that owns the cluster and runs its programs."""

    name: str
    uid: int
    gid: int

    @classmethod
    def choose(cls) -> "Account":
        """Return the account to run Postgres as; Postgres itself refuses to run as root.

        Raises EmbeddedPostgresError on Windows, and where the user has no passwd entry.
        """
        if sys.platform == "win32":
            message = "the embedded Postgres needs Linux or macOS; use WSL, or set DATABASE_URL"
            raise EmbeddedPostgresError(message)
        if os.geteuid() == 0:
            return cls._unprivileged()
        try:
            entry = pwd.getpwuid(os.geteuid())
        except KeyError:
            message = (
                f"uid {os.geteuid()} has no passwd entry, which initdb needs; add one to the "
                "image, run as a named user, or set DATABASE_URL"
            )
            raise EmbeddedPostgresError(message) from None
        return cls(entry.pw_name, entry.pw_uid, entry.pw_gid)

    @classmethod
    def _unprivileged(cls) -> "Account":
        accounts = {entry.pw_name: entry for entry in pwd.getpwall()}
        for name in _PREFERRED_ACCOUNTS:
            if name in accounts:
                return cls(name, accounts[name].pw_uid, accounts[name].pw_gid)
        message = (
            "Postgres does not run as root and there is no account 'postgres' or 'nobody' to run "
            "it as; start Holdfast as an ordinary user, or set DATABASE_URL"
        )
        raise EmbeddedPostgresError(message)

    @property
    def is_other(self) -> bool:
        """Whether this is someone else than the user of this process."""
        return self.uid != os.geteuid()

    def run(
        self,
        *command: str | Path,
        cwd: Path = Path("/"),
        environment: Mapping[str, str] | None = None,
        stdin: str = "",
    ) -> str:
        """Run a command as this account and return what it printed.

        It gets a session of its own, so that a Ctrl-C in the terminal reaches only us, and we let
        it finish before we give way. Raises EmbeddedPostgresError, with the output, when it
        cannot be run or fails.
        """
        program = Path(command[0]).name
        with tempfile.TemporaryFile() as output:
            try:
                process = subprocess.Popen(
                    ("/bin/sh", "-c", _WHEN_TOLD, *command),
                    cwd=cwd,
                    env={**_environment(), **(environment or {})},
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    user=self.uid if self.is_other else None,
                    group=self.gid if self.is_other else None,
                    extra_groups=[] if self.is_other else None,
                )
            except OSError as error:
                message = f"cannot run {program} as user {self.name!r}: {error}"
                raise EmbeddedPostgresError(message) from error
            _tell(process, f"go\n{stdin}")
            output.seek(0)
            printed = output.read().decode(errors="replace")
        if process.returncode != 0:
            message = f"{program} failed as user {self.name!r}:\n{printed.strip()}"
            raise EmbeddedPostgresError(message)
        return printed

    def make_reachable(self, folder: Path) -> None:
        """Make `folder` and its missing parents, so that this account can pass through them.

        Folders that exist keep their modes. Raises EmbeddedPostgresError, having made nothing,
        when an existing parent is closed to this account.
        """
        ancestors = (folder, *folder.parents)
        existing = next(path for path in ancestors if path.exists())
        try:
            self.run("/bin/sh", "-c", 'test -x "$0"', existing)
        except EmbeddedPostgresError:
            message = (
                f"DATA_DIR={folder} cannot be used: Postgres runs as user {self.name!r}, who may "
                f"not enter {existing}. Choose a folder whose parents are open to everybody, such "
                "as /var/lib/holdfast, or start Holdfast as the user who owns that folder"
            )
            raise EmbeddedPostgresError(message) from None
        missing = ancestors[: ancestors.index(existing)]
        for path in reversed(missing):
            path.mkdir(exist_ok=True)
            path.chmod(self.passage_mode)

    def own(self, folder: Path) -> None:
        """Give a folder that we have just made to this account."""
        if self.is_other:
            os.chown(folder, self.uid, self.gid, follow_symlinks=False)

    @property
    def passage_mode(self) -> int:
        """The mode of a folder of ours that this account must be able to pass through."""
        return 0o711 if self.is_other else 0o700


def _environment() -> dict[str, str]:
    # Neither PG* variables nor our secrets are for the server.
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def _tell(process: subprocess.Popen[bytes], stdin: str) -> None:
    try:
        process.communicate(stdin.encode())
    except BaseException:
        # Only when it has finished is it known what there is to clean up.
        if process.stdin:
            process.stdin.close()
        process.wait()
        raise
