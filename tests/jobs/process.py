"""For each line that comes in, forks a process that does jobs of the database in argv[1] until it is killed.

See tests/faults/test_job_crashes.py: what takes long to start is started once.
"""

import asyncio
import os
import signal
import sys

import httpx2
from pydantic import SecretStr

from app.database import open_database
from app.handlers import Job, Outcome
from app.jobs.processor import process_jobs
from app.log import configure_logging
from app.settings import Settings
from tests.jobs.support import ACTOR, effects, handler, posts


async def exits(_job: Job) -> Outcome:
    """What a handler in broken native code does."""
    os._exit(70)


async def work(settings: Settings) -> None:
    """Say who is here, and work, run after run."""
    # to speak plain HTTP it need not read every certificate of the world
    async with open_database(settings) as database, httpx2.AsyncClient(timeout=30, verify=False) as client:
        handlers = effects(database), posts(client, queue="posts"), handler(exits, "poison")
        sys.stdout.write(f"{os.getpid()}\n")
        sys.stdout.flush()
        while True:
            await process_jobs(database, ACTOR, handlers)
            await asyncio.sleep(0.01)


if __name__ == "__main__":
    configure_logging("error")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for _line in sys.stdin:
        if os.fork() == 0:
            asyncio.run(work(Settings(_env_file=None, database_url=SecretStr(sys.argv[1]))))
