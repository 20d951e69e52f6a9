"""Use the server on the folder in argv[1], in a process of its own: see `support.Holder`."""

import json
import signal
import sys
from pathlib import Path
from types import FrameType

from app import embedded


def leave(number: int, _: FrameType | None) -> None:
    """End as a well-behaved program does on a signal: by unwinding."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, leave)
    signal.signal(signal.SIGTERM, leave)
    sys.stdout.write("here\n")
    sys.stdout.flush()
    sys.stdin.readline()
    with embedded.start(Path(sys.argv[1]), durable=False) as server:
        facts = {"url": server.url, "started_here": server.started_here}
        sys.stdout.write(json.dumps(facts) + "\n")
        sys.stdout.flush()
        sys.stdin.readline()
