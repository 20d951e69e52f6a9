"""SIGINT and SIGTERM end a program that uses the server, and the server with it."""

import os
import signal
import time
from pathlib import Path

import pytest

from .support import Holder, postmaster_on


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_terminal_stops_the_server_cleanly(data_dir: Path, number: signal.Signals) -> None:
    with Holder(data_dir) as holder:
        assert holder.go().started_the_server()
        postmaster = postmaster_on(data_dir)
        assert postmaster
        assert os.getsid(postmaster.pid) != os.getsid(holder.process.pid)
        os.killpg(holder.process.pid, number)
        assert holder.process.wait(timeout=10) == 128 + number
    assert postmaster_on(data_dir) is None
    assert "database system is shut down" in (data_dir / "postgres" / "server.log").read_text()


@pytest.mark.parametrize("delay_milliseconds", [0, 150, 400, 700])
def test_a_signal_while_starting_leaves_no_server_and_no_half_made_cluster(
    data_dir: Path, delay_milliseconds: int
) -> None:
    with Holder(data_dir) as holder:
        holder.go()
        time.sleep(delay_milliseconds / 1000)
        os.killpg(holder.process.pid, signal.SIGTERM)
        assert holder.process.wait(timeout=10) == 128 + signal.SIGTERM
    assert postmaster_on(data_dir) is None
    assert not (data_dir / "postgres.new").exists()
