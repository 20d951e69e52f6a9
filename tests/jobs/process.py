"""For each line that comes in, forks a process that does jobs of the database in argv[1] until it is killed.

See tests/jobs/victims.py: what takes long to start is started once. It says who is born, and how long each run took.
"""

import asyncio
import os
import signal
import sys
import time

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


def say(*words: float) -> None:
    """In one write, for others write too."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def work(settings: Settings) -> None:
    """Say who is here, and work, run after run; after each, say how many seconds it took."""
    # to speak plain HTTP it need not read every certificate of the world
    async with open_database(settings) as database, httpx2.AsyncClient(timeout=30, verify=False) as client:
        handlers = effects(database), posts(client, queue="posts"), handler(exits, "poison")
        say(os.getpid())
        while True:
            began = time.monotonic()
            await process_jobs(database, ACTOR, handlers)
            say(os.getpid(), time.monotonic() - began)
            await asyncio.sleep(0.05)


if __name__ == "__main__":
    configure_logging("error")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    # twenty of them share a server
    settings = Settings(_env_file=None, database_url=SecretStr(sys.argv[1]), db_pool_size=4)
    # what a client imports late is imported once
    httpx2.AsyncClient(verify=False)
    for _line in sys.stdin:
        if os.fork() == 0:
            asyncio.run(work(settings))
