"""How long after an opening requests reach a provider: `python -m benchmarks.prebookings [--quick] [--json FILE]`.

The provider is the simulator in a process of its own, whose clock is ahead of ours; the times are those of its clock.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import asyncpg
import httpx2
import uvloop
from pydantic import SecretStr
from rich import box
from rich.console import Console
from rich.table import Table

from app.database import Database, open_database
from app.encryption import EncryptionKeys, new_encryption_key
from app.jobs.processor import process_jobs
from app.jobs.worker import working
from app.log import configure_logging
from app.main import handlers_of
from app.migrate import migrate
from app.providers.vault import seal
from app.security import Actor
from app.settings import Settings
from app.simulator.provider import settings_for as described
from benchmarks.database import SCHEMA, BackDoor
from benchmarks.figures import percentile
from benchmarks.machine import Machine, describe
from benchmarks.server import ROOT, durable_postgres, settings_for

ACTOR = Actor("system", "benchmark")
ACTING = json.dumps(ACTOR.json())
GYM, USER, PASSWORD = "gym", "ana", "correct horse battery"
CLOCK_AHEAD = 0.25
STAGGER_MS = 50
# Seconds. All are got ready before, and no bounded run begins earlier.
UNTIL_OPENING = 6.0
RUN_BEFORE = 3.0
PATIENCE = 30.0
COUNT_WAITING = "SELECT count(*) FROM prebookings WHERE status IN ('pending', 'executing')"


class Scene(NamedTuple):
    """Who wants something, and what lets them have it: a worker, or one bounded run that overlaps the opening."""

    users: int
    mode: str
    stagger_ms: int = 0

    @property
    def name(self) -> str:
        """What it is called in the table."""
        apart = f", {self.stagger_ms} ms apart" if self.stagger_ms else ", at once"
        return f"{self.mode}, {self.users} users{apart}"


SCENES = [
    Scene(100, "worker"),
    Scene(100, "worker", STAGGER_MS),
    *(Scene(users, mode, apart) for mode in ("worker", "cron") for users in (10, 20) for apart in (0, STAGGER_MS)),
]


@dataclass(frozen=True)
class Arrivals:
    """Milliseconds after the opening at which each request arrived, and was said to leave; round by round."""

    arrived: list[list[float]]
    fired: list[list[float]]


def main() -> None:
    """Measure, print the table, and write the figures where asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prebookings", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round instead of five")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to FILE")
    options = parser.parse_args()
    # told to end, we still stop the servers and remove the data
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    configure_logging("error")
    pg_bin = os.environ.get("PG_BIN")
    machine, measured = measure(1 if options.quick else 5, Path(pg_bin) if pg_bin else None, Console(stderr=True))
    show(machine, measured, Console())
    if options.json:
        figures = {"machine": asdict(machine), "scenes": {name: asdict(each) for name, each in measured.items()}}
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def measure(rounds: int, pg_bin: Path | None, progress: Console) -> tuple[Machine, dict[str, Arrivals]]:
    """Every scene so many times. Raises RuntimeError where one was too early, or not booked exactly once."""
    with durable_postgres(pg_bin) as postgres, simulator() as url:
        keys = new_encryption_key()
        settings = settings_for(postgres.url).model_copy(update={"encryption_keys": SecretStr(keys)})
        migrate(settings)
        machine = BackDoor(postgres.url).run(lambda connection: describe(connection, postgres.data_dir))
        measured = {}
        for scene in SCENES:
            progress.print(f"measuring: {scene.name}")
            played = [uvloop.run(_play(scene, settings, url)) for _ in range(rounds)]
            measured[scene.name] = Arrivals([arrived for arrived, _ in played], [fired for _, fired in played])
    return machine, measured


@contextlib.contextmanager
def simulator() -> Iterator[str]:
    """Where a provider answers, in a process of its own, for as long as the block runs."""
    command = [sys.executable, "-m", "app.simulator"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout  # noqa: S101 - as asked for
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()


async def _play(scene: Scene, settings: Settings, url: str) -> tuple[list[float], list[float]]:
    connection = await asyncpg.connect(settings.dsn, server_settings={"search_path": SCHEMA})
    async with open_database(settings) as database, httpx2.AsyncClient(base_url=url) as client:
        opens_at = datetime.now(UTC) + timedelta(seconds=UNTIL_OPENING + scene.users / 50)
        conduct = {"accounts": {USER: PASSWORD}, "clock_ahead": CLOCK_AHEAD, "opens_at": opens_at.timestamp()}
        (await client.put("/control/conduct", json=conduct)).raise_for_status()
        before = len(await _requests(client))
        await _prebook(connection, settings, scene, url, opens_at)
        async with _at_work(scene, database, settings, opens_at):
            await _until_ended(connection)
        arrived = sorted(
            1000 * (each["arrived_at"] - opens_at.timestamp()) for each in (await _requests(client))[before:]
        )
        rows = await connection.fetch("SELECT status, lateness_ms FROM prebookings WHERE opens_at = $1", opens_at)
    await connection.close()
    if [row["status"] for row in rows] != ["succeeded"] * scene.users or len(arrived) != scene.users or arrived[0] < 0:
        msg = f"{scene.name}: {len(arrived)} requests, the first {arrived[:1]} ms after the opening: {rows}"
        raise RuntimeError(msg)
    return arrived, sorted(row["lateness_ms"] for row in rows)


async def _requests(client: httpx2.AsyncClient) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await client.get("/control/requests")).raise_for_status().json()["items"]
    return [item for item in items if item["endpoint"] == "booking"]


async def _prebook(
    connection: asyncpg.Connection, settings: Settings, scene: Scene, url: str, opens_at: datetime
) -> None:
    await connection.execute(
        "SELECT put_provider($1, $2, 'http_json', $3, 'UTC', p_stagger_ms => $4)",
        *(ACTING, GYM, json.dumps(described(url)), scene.stagger_ms),
    )
    keys = settings.keys_of_credentials or EncryptionKeys("")
    for n in range(scene.users):
        ref, target = f"user {n}", {"class": f"{opens_at} {n}", "date": "2030-05-01", "time": "18:00"}
        sealed = seal(keys, GYM, ref, {"user": USER, "password": PASSWORD})
        await connection.execute("SELECT put_credentials($1, $2, $3, $4, $5, $6)", ACTING, GYM, ref, *sealed)
        await connection.execute(
            "SELECT create_prebooking($1, NULL, $2, $3, $4, p_opens_at => $5)",
            *(ACTING, GYM, json.dumps([target]), json.dumps({"ref": ref}), opens_at),
        )
    # whoever stored credentials long ago has had them checked
    await connection.execute(
        """UPDATE jobs SET status = 'cancelled', processed_at = now()
        WHERE job_type = 'check_credentials' AND status = 'pending'"""
    )


@contextlib.asynccontextmanager
async def _at_work(scene: Scene, database: Database, settings: Settings, opens_at: datetime) -> AsyncIterator[None]:
    handlers = handlers_of(database, settings)
    if scene.mode == "worker":
        async with working(database, settings, handlers):
            yield
    else:
        await asyncio.sleep((opens_at - datetime.now(UTC)).total_seconds() - RUN_BEFORE)
        await process_jobs(database, ACTOR, handlers)
        yield


async def _until_ended(connection: asyncpg.Connection) -> None:
    async with asyncio.timeout(PATIENCE):
        while await connection.fetchval(COUNT_WAITING):  # noqa: ASYNC110 - of the database
            await asyncio.sleep(0.1)


def show(machine: Machine, measured: dict[str, Arrivals], console: Console) -> None:
    """A table for a person to read."""
    table = Table(title="ms after the opening, medians of all rounds", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("what", no_wrap=True)
    for heading in ("first", "p50", "p99", "worst", "fired p99"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, arrivals in measured.items():
        figures = [
            median(round_[0] for round_ in arrivals.arrived),
            median(median(round_) for round_ in arrivals.arrived),
            median(percentile(round_, 99) for round_ in arrivals.arrived),
            max(round_[-1] for round_ in arrivals.arrived),
            median(percentile(round_, 99) for round_ in arrivals.fired),
        ]
        table.add_row(name, *(f"{figure:.1f}" for figure in figures))
    console.print(table)
    console.print(
        f"{machine.date}, {machine.cores} cores, load {machine.load_average} at the start, Postgres "
        f"{machine.postgres}. None left before its opening, and each was booked once."
    )


if __name__ == "__main__":
    main()
