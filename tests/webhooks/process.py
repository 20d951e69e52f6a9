"""For each line that comes in, forks a process that delivers webhooks of the database in argv[1] until it is killed.

See tests/webhooks/test_crashes.py: what takes long to start is started once.
"""

import asyncio
import os
import signal
import sys
from ipaddress import ip_network

from pydantic import SecretStr

from app.database import open_database
from app.jobs.processor import process_jobs
from app.log import configure_logging
from app.settings import Settings
from app.webhooks.handlers import deliver_webhook
from tests.jobs.support import ACTOR


async def work(settings: Settings) -> None:
    """Say who is here, and deliver, run after run."""
    async with open_database(settings) as database:
        handlers = [deliver_webhook(database, settings)]
        sys.stdout.write(f"{os.getpid()}\n")
        sys.stdout.flush()
        while True:
            await process_jobs(database, ACTOR, handlers)
            await asyncio.sleep(0.01)


if __name__ == "__main__":
    configure_logging("error")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    url, keys = map(SecretStr, sys.argv[1:])
    here = (ip_network("127.0.0.0/8"),)
    options = Settings(_env_file=None, database_url=url, encryption_keys=keys, webhook_allowed_networks=here)
    for _line in sys.stdin:
        if os.fork() == 0:
            asyncio.run(work(options))
