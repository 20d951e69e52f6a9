"""Start, share and stop: who starts the server, who stops it, and when."""

import asyncio
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import Mock

import asyncpg
import pytest

from app import embedded
from app.embedded.cluster import Cluster

from .support import OLD_BINARIES, REPOSITORY, Holder, pg_ctl_by_hand, postmaster_on, query


def test_a_new_folder_gets_the_promised_database(data_dir: Path) -> None:
    with embedded.start(data_dir) as server:
        settings = query(
            server.url,
            "SELECT json_object_agg(name, setting) ->> 'fsync', count(*) FROM pg_settings "
            "WHERE (name, setting) IN (('fsync', 'on'), ('full_page_writes', 'on'), "
            "('synchronous_commit', 'on'), ('data_checksums', 'on'), ('listen_addresses', ''), "
            "('server_encoding', 'UTF8'), ('TimeZone', 'UTC'), ('log_timezone', 'UTC'))",
        )
        who = query(server.url, "SELECT current_database(), usename, usesuper FROM pg_user")
    assert settings == "on|8"
    assert who == "holdfast|holdfast|t"


def test_asyncpg_understands_the_url(data_dir: Path) -> None:
    async def ask(url: str) -> object:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval("SELECT current_user || '@' || current_database()")
        finally:
            await connection.close()

    with embedded.start(data_dir, durable=False) as server:
        assert asyncio.run(ask(server.url)) == "holdfast@holdfast"


def test_rows_outlive_the_server(data_dir: Path) -> None:
    with embedded.start(data_dir, durable=False) as server:
        assert server.started_here
        query(server.url, "CREATE TABLE kept AS SELECT 42 AS answer")
    assert postmaster_on(data_dir) is None
    with embedded.start(data_dir, durable=False) as server:
        assert server.started_here
        assert query(server.url, "SELECT answer FROM kept") == "42"


def test_stop_may_be_called_again(data_dir: Path) -> None:
    server = embedded.start(data_dir, durable=False)
    server.stop()
    server.stop()
    assert postmaster_on(data_dir) is None


def test_a_second_user_attaches_and_the_last_one_out_stops(data_dir: Path) -> None:
    first = embedded.start(data_dir, durable=False)
    second = embedded.start(data_dir, durable=False)
    assert (first.started_here, second.started_here) == (True, False)
    first.stop()
    assert query(second.url, "SELECT 1") == "1"
    second.stop()
    assert postmaster_on(data_dir) is None


def test_eight_processes_at_once_share_one_server(data_dir: Path) -> None:
    with ExitStack() as stack:
        holders = [stack.enter_context(Holder(data_dir)) for _ in range(8)]
        for holder in holders:
            holder.go()
        assert sorted(holder.started_the_server() for holder in holders) == [False] * 7 + [True]
        assert [holder.leave() for holder in holders[:-1]] == [0] * 7
        assert postmaster_on(data_dir) is not None
        assert holders[-1].leave() == 0
    assert postmaster_on(data_dir) is None


def test_a_newcomer_may_meet_the_last_one_at_the_door(data_dir: Path) -> None:
    with Holder(data_dir) as first, Holder(data_dir) as second:
        assert first.go().started_the_server()
        first.begin_to_leave()
        second.go().started_the_server()
        assert second.leave() == 0
    assert postmaster_on(data_dir) is None


def test_a_server_started_by_hand_is_used_but_not_stopped(data_dir: Path) -> None:
    embedded.start(data_dir, durable=False).stop()
    pg_ctl_by_hand(data_dir, "start", "-l", "hand.log", "-o", f"-k {data_dir}/postgres -h ''")
    try:
        with embedded.start(data_dir) as server:
            assert not server.started_here
            assert query(server.url, "SELECT 1") == "1"
        assert postmaster_on(data_dir) is not None
    finally:
        pg_ctl_by_hand(data_dir, "stop")


def test_a_failed_stop_locks_nobody_out(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = embedded.start(data_dir, durable=False)
    with monkeypatch.context() as patch:
        patch.setattr(Cluster, "stop", Mock(side_effect=embedded.EmbeddedPostgresError))
        with pytest.raises(embedded.EmbeddedPostgresError):
            server.stop()
    with embedded.start(data_dir, durable=False) as second:
        assert not second.started_here
    server.stop()
    assert postmaster_on(data_dir) is None


def test_a_forked_child_does_not_stop_the_server(data_dir: Path) -> None:
    script = (
        "import os, pathlib, sys; from app import embedded; folder = pathlib.Path(sys.argv[1])\n"
        "with embedded.start(folder, durable=False):\n"
        "    if os.fork() == 0: sys.exit()\n"
        "    os.wait()\n"
        "    sys.exit(embedded.start(folder, durable=False).started_here)\n"
    )
    command = (sys.executable, "-c", script, data_dir)
    assert subprocess.run(command, cwd=REPOSITORY, check=False).returncode == 0
    assert postmaster_on(data_dir) is None


def test_durable_data_is_not_entrusted_to_a_disposable_server(data_dir: Path) -> None:
    with (
        embedded.start(data_dir, durable=False),
        pytest.raises(embedded.EmbeddedPostgresError, match="started for tests"),
    ):
        embedded.start(data_dir)
    assert postmaster_on(data_dir) is None


def test_a_temporary_server_leaves_nothing() -> None:
    with embedded.temporary() as server:
        assert query(server.url, "SHOW fsync") == "off"
        assert server.data_dir.is_dir()
    assert not server.data_dir.exists()


@pytest.mark.skipif(not OLD_BINARIES.is_dir(), reason="needs PostgreSQL 15 beside the newest")
def test_data_of_another_major_is_refused_with_the_way_out(data_dir: Path) -> None:
    embedded.start(data_dir, durable=False, pg_bin=OLD_BINARIES).stop()
    with pytest.raises(embedded.EmbeddedPostgresError) as refused:
        embedded.start(data_dir, durable=False)
    message = str(refused.value)
    assert "was made by PostgreSQL 15" in message
    assert str(embedded.find_binaries()) in message
    assert "PG_BIN" in message
    assert "pg_dump" in message
