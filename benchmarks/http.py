"""The product: the same booking over HTTP, with authentication, validation, audit and idempotency."""

import json
import subprocess
import sys
from dataclasses import asdict

from benchmarks.booking import Target
from benchmarks.figures import Run
from benchmarks.load import Order
from benchmarks.plan import CONNECTIONS
from benchmarks.server import ROOT

PATIENCE = 60


class Http:
    """Sends load to the API from a process of its own."""

    def __init__(self, port: int, api_key: str, customers: int) -> None:
        self._port = port
        self._api_key = api_key
        self._customers = customers
        self.booked = 0

    def run(self, target: Target, seconds: float) -> Run:
        """Book for so many seconds. Raises RuntimeError when an answer is neither 201 nor 409."""
        order = Order(
            port=self._port,
            api_key=self._api_key,
            clients=CONNECTIONS,
            seconds=seconds,
            first_slot=target.first,
            slots=target.last - target.first + 1,
            customers=self._customers,
        )
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.load"],
            cwd=ROOT,
            input=json.dumps(asdict(order)),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=seconds + PATIENCE,
        )
        run = Run(**json.loads(done.stdout))
        if run.others.keys() - {"409"}:
            msg = f"the API answered something else than 201 and 409: {run.others}"
            raise RuntimeError(msg)
        self.booked += run.done
        return run
