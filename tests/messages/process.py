"""For each line that comes in, forks a process that sends what is due until it is killed: see test_kills.py."""

import asyncio
import os
import signal
import sys

from app.database import open_database
from app.log import configure_logging
from app.settings import Settings
from tests.messages.support import run


async def work(settings: Settings) -> None:
    """Say who is here, and send, again and again."""
    async with open_database(settings) as database:
        sys.stdout.write(f"{os.getpid()}\n")
        sys.stdout.flush()
        while True:
            await run(database, settings)
            await asyncio.sleep(0.02)


if __name__ == "__main__":
    configure_logging("error")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    settings = Settings(_env_file=None)
    while sys.stdin.readline():
        if os.fork() == 0:
            asyncio.run(work(settings))
