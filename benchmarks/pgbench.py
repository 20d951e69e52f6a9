"""The yardstick: pgbench, written in C, calling the same functions with the same arguments."""

import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from app.database import SESSION
from benchmarks.booking import (
    CUSTOMER_NAME,
    CUSTOMER_PREFIX,
    FIRST_CUSTOMER,
    METADATA,
    SLOT_PREFIX,
    USER_AGENT,
    Target,
)
from benchmarks.figures import Run, percentile
from benchmarks.plan import CONNECTIONS, PGBENCH_THREADS

# As app.bookings.queries sends it; what changes from call to call is put together by the server, since pgbench knows
# only numbers. That costs it about a microsecond a call.
SCRIPT = f"""
\\set slot random(:first_slot, :last_slot)
\\set customer random(:first_customer, :last_customer)
\\set turn :turn + 100
\\set request :turn + :client_id
SELECT * FROM holdfast.create_booking_safe(
  p_actor => (:actor_before || :request || :actor_after)::jsonb,
  p_slot_id => ('{SLOT_PREFIX}' || :slot)::uuid,
  p_customer => ('{{"ref": "{CUSTOMER_PREFIX}' || :customer || '", "name": "{CUSTOMER_NAME}"}}')::jsonb,
  p_units => :units,
  p_payment_method => :payment_method,
  p_metadata => :metadata,
  p_idempotency_key => gen_random_uuid()::text,
  p_request_hash => :request_hash
);
"""

# As app.slots.queries sends it.
AVAILABILITY = """
SELECT * FROM holdfast.available_slots(
  p_resource_ids => ARRAY[:resource_id]::uuid[],
  p_from => :from::timestamptz,
  p_to => :to::timestamptz,
  p_tz => NULL,
  p_units => 1,
  p_etags => ARRAY[:etag]::text[]
);
"""

# with the settings of the service's own sessions
AS_OURS = " ".join(f"-c {name}={value}" for name, value in SESSION.items())
ACTOR = {
    "type": "customer",
    "id": "api_key:7c9e6679-7425-40de-944b-e07fc1f90ae7",
    "ip": "127.0.0.1",
    "user_agent": USER_AGENT,
}
# each request has an id of its own, and a later one sorts after: microseconds before the digits of the client
_BEFORE, _AFTER = json.dumps({**ACTOR, "request_id": "request-|"}).split("|")
WORDS = {
    "actor_before": _BEFORE,
    "actor_after": _AFTER,
    "units": "1",
    "payment_method": "pay_on_arrival",
    "metadata": METADATA,
    "request_hash": "\\x" + "5a" * 32,
}


class PgBench:
    """Runs scripts against one database."""

    def __init__(self, binaries: Path, url: str, customers: int) -> None:
        self._program = binaries / "pgbench"
        self._url = url
        self._customers = {"first_customer": FIRST_CUSTOMER, "last_customer": FIRST_CUSTOMER + customers - 1}

    def run(self, target: Target, seconds: float, connections: int = CONNECTIONS, *, wait_for_disk: bool = True) -> Run:
        """Book for so many seconds. Raises RuntimeError, with what pgbench said, when a call failed."""
        slots = {"first_slot": target.first, "last_slot": target.last}
        variables: dict[str, str | int] = {**WORDS, **self._customers, **slots, "turn": time.time_ns() // 1000 * 100}
        return self._run(SCRIPT, variables, seconds, connections, "" if wait_for_disk else "-c synchronous_commit=off")

    def ask(self, variables: dict[str, str], seconds: float) -> Run:
        """Call available_slots for so many seconds. Raises RuntimeError, with what pgbench said, when a call failed."""
        return self._run(AVAILABILITY, variables, seconds, CONNECTIONS, "")

    def _run(
        self, text: str, variables: Mapping[str, str | int], seconds: float, connections: int, options: str
    ) -> Run:
        with tempfile.TemporaryDirectory(prefix="holdfast-pgbench-") as folder:
            script = Path(folder) / "script.sql"
            script.write_text(text)
            done = subprocess.run(
                [
                    *(self._program, "--no-vacuum", "--protocol=prepared", f"--file={script}"),
                    *(f"--client={connections}", f"--jobs={min(connections, PGBENCH_THREADS)}"),
                    *(f"--time={max(1, round(seconds))}", "--log", f"--log-prefix={folder}/log"),
                    *(f"--define={name}={value}" for name, value in variables.items()),
                    self._url,
                ],
                env={**os.environ, "PGOPTIONS": f"{AS_OURS} {options}"},
                capture_output=True,
                text=True,
                check=False,
                timeout=seconds + 60,
            )
            failed = re.search(r"number of failed transactions: (\d+)", done.stdout)
            if done.returncode or not failed or int(failed[1]):
                msg = f"pgbench failed:\n{done.stdout}{done.stderr}"
                raise RuntimeError(msg)
            return _read(done.stdout, _latencies(Path(folder)))


def _read(output: str, latencies: list[float]) -> Run:
    rate = re.search(r"tps = ([\d.]+) \(without", output)
    done = re.search(r"actually processed: (\d+)", output)
    if not rate or not done:
        msg = f"pgbench said something new:\n{output}"
        raise RuntimeError(msg)
    return Run(float(rate[1]), int(done[1]), percentile(latencies, 50), percentile(latencies, 99))


def _latencies(folder: Path) -> list[float]:
    # a line a transaction: client, number, microseconds, ...
    lines = (line for log in folder.glob("log.*") for line in log.read_text().splitlines())
    return sorted(int(line.split(" ", 3)[2]) / 1000 for line in lines)
