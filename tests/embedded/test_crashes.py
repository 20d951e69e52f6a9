"""After kill -9, of a user or of the server, everything goes on."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from app import embedded

from .support import Holder, postmaster_on, query

LINUX = Path("/proc/self/stat").exists()


def test_a_killed_user_does_not_keep_the_server_up(data_dir: Path) -> None:
    with Holder(data_dir) as holder:
        assert holder.go().started_the_server()
        holder.process.kill()
        holder.process.wait()
    with embedded.start(data_dir, durable=False) as server:
        assert not server.started_here
    assert postmaster_on(data_dir) is None


def test_a_killed_server_comes_back_with_its_rows(data_dir: Path) -> None:
    with embedded.start(data_dir) as server:
        query(server.url, "CREATE TABLE kept AS SELECT generate_series(1, 10000) AS n")
        kill_postmaster(data_dir)
        with embedded.start(data_dir) as again:
            assert again.started_here
            assert query(server.url, "SELECT count(*) FROM kept") == "10000"
    assert postmaster_on(data_dir) is None


def test_a_killed_server_may_have_a_busy_session(data_dir: Path) -> None:
    busy = "DO $$ BEGIN WHILE clock_timestamp() < now() + interval '2 s' LOOP END LOOP; END $$"
    with embedded.start(data_dir, durable=False) as server:
        command = (embedded.find_binaries() / "psql", server.url, "-c", busy)
        with subprocess.Popen(command, stderr=subprocess.DEVNULL):
            while query(server.url, "SELECT 1 FROM pg_stat_activity WHERE query ^@ 'DO '") != "1":
                pass
            kill_postmaster(data_dir)
            with embedded.start(data_dir, durable=False) as again:
                assert again.started_here


@pytest.mark.skipif(not LINUX, reason="only Linux tells what a process is")
def test_a_stale_pid_file_with_a_recycled_number_does_not_matter(data_dir: Path) -> None:
    with embedded.start(data_dir, durable=False):
        pid_file = data_dir / "postgres" / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join((str(os.getpid()), *lines[1:])))
    with embedded.start(data_dir, durable=False) as server:
        assert server.started_here


@pytest.mark.parametrize("leftover", ["", "999999999\n", "\0\0\0"])
def test_a_broken_pid_file_does_not_matter(data_dir: Path, leftover: str) -> None:
    embedded.start(data_dir, durable=False).stop()
    (data_dir / "postgres" / "postmaster.pid").write_text(leftover)
    with embedded.start(data_dir, durable=False) as server:
        assert server.started_here


def test_a_half_made_cluster_is_made_anew(data_dir: Path) -> None:
    (data_dir / "postgres.new" / "base").mkdir(parents=True)
    data_dir.chmod(0o755)
    with embedded.start(data_dir, durable=False) as server:
        assert server.started_here
    assert not (data_dir / "postgres.new").exists()


def test_a_server_that_does_not_come_up_shows_its_log(data_dir: Path) -> None:
    embedded.start(data_dir, durable=False).stop()
    with (data_dir / "postgres" / "postgresql.conf").open("a") as settings:
        settings.write("max_wal_senders = nonsense\n")
    with pytest.raises(embedded.EmbeddedPostgresError, match="nonsense"):
        embedded.start(data_dir, durable=False)


def kill_postmaster(data_dir: Path) -> None:
    """Kill the server process itself; its children notice on their own."""
    postmaster = postmaster_on(data_dir)
    assert postmaster
    os.kill(postmaster.pid, signal.SIGKILL)
