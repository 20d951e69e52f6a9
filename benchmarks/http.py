"""The product, over HTTP: bookings with authentication, validation, audit and idempotency, and what is free."""

import json
import subprocess
import sys
from http.client import HTTPConnection

from benchmarks.booking import Target
from benchmarks.figures import Run
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
        run = self._send(
            seconds, first_slot=target.first, slots=target.last - target.first + 1, customers=self._customers
        )
        if run.others.keys() - {"409"}:
            msg = f"the API answered something else than 201 and 409: {run.others}"
            raise RuntimeError(msg)
        self.booked += run.done
        return run

    def ask(self, question: str, seconds: float, etag: str = "") -> Run:
        """GET that address for so many seconds. Raises RuntimeError when an answer is neither 200 nor 304."""
        run = self._send(seconds, question=question, etag=etag)
        if run.others:
            msg = f"the API answered something else than 200 and 304: {run.others}"
            raise RuntimeError(msg)
        return run

    def etag_of(self, question: str) -> str:
        """The ETag of one answer."""
        connection = HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        try:
            connection.request("GET", question)
            return connection.getresponse().headers["ETag"] or ""
        finally:
            connection.close()

    def _send(self, seconds: float, **what: int | str) -> Run:
        order = {"port": self._port, "api_key": self._api_key, "clients": CONNECTIONS, "seconds": seconds, **what}
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.load"],
            cwd=ROOT,
            input=json.dumps(order),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=seconds + PATIENCE,
        )
        return Run(**json.loads(done.stdout))
