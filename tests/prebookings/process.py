"""For each line that comes in, forks a worker of the database in argv[1], with the key in argv[2], until it is killed.

See tests/jobs/victims.py: what takes long to start is started once.
"""

import asyncio
import os
import signal
import sys

from pydantic import SecretStr

from app.adapters.registry import find_adapter
from app.database import open_database
from app.jobs.worker import Worker
from app.log import configure_logging
from app.main import handlers_of
from app.settings import Settings
from tests.jobs.process import say


async def work(settings: Settings) -> None:
    """Say who is here, and work."""
    async with open_database(settings) as database:
        say(os.getpid())
        await Worker(database, settings, handlers_of(database, settings)).run()


if __name__ == "__main__":
    configure_logging("error")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    database_url, encryption_keys = (SecretStr(argument) for argument in sys.argv[1:])
    settings = Settings(_env_file=None, database_url=database_url, encryption_keys=encryption_keys, db_pool_size=4)
    find_adapter("http_json")
    for _line in sys.stdin:
        if os.fork() == 0:
            asyncio.run(work(settings))
