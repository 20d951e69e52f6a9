"""How long anything may take: one ladder, so that whoever knows most about a delay gives up first and says so.

A lock ends before its statement, the statement before the server's answer is given up, and that before the request.
"""

from typing import NamedTuple

# Seconds to wait for a free connection, or to make one.
CONNECTION = 5.0
# Seconds in which a server that has ended a statement by itself can say so.
MARGIN = 2.0
# Seconds in which a request's body has to be here.
BODY = 10.0
# Seconds that a transaction may lie idle: ours never do.
IDLE = 10.0


class Deadlines(NamedTuple):
    """Seconds for a lock, a statement, and a request from its body to the beginning of its answer."""

    lock: float
    statement: float
    request: float

    @property
    def answer(self) -> float:
        """Seconds for the answer to a statement; after that, what became of it is unknown."""
        return self.statement + MARGIN

    @property
    def fault(self) -> str | None:
        """What is wrong with the ladder, or None."""
        if not self.lock < self.statement:
            return f"a lock is waited for {self.lock:g} s, which has to be less than a statement's {self.statement:g} s"
        least = CONNECTION + self.answer
        if not least < self.request:
            return (
                f"a request may take {self.request:g} s, which has to be more than {least:g} s: "
                f"{CONNECTION:g} for a connection, {self.statement:g} for a statement and {MARGIN:g} for its answer"
            )
        return None

    @property
    def server_settings(self) -> dict[str, str]:
        """The ladder as Postgres takes it."""
        seconds = {
            "lock_timeout": self.lock,
            "statement_timeout": self.statement,
            "idle_in_transaction_session_timeout": IDLE,
        }
        return {name: f"{round(value * 1000)}ms" for name, value in seconds.items()}
