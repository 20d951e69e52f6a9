"""Who uses the server now, told by file locks: the kernel drops them when a process dies."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform != "win32":
    import fcntl


class Attendance:
    """The users of one data folder, across processes.

    Each user holds a shared lock on one file while it lives. Coming and going is done under an
    exclusive lock on another, so that the last one out and a newcomer cannot miss each other.
    """

    def __init__(self, folder: Path) -> None:
        """Attend to the server in `folder`, which must exist by the time of the first `turn`."""
        self._turn_file = folder / "lock"
        self._users_file = folder / "users.lock"
        self._ticket: int | None = None

    @property
    def present(self) -> bool:
        """Whether we have joined and not left."""
        return self._ticket is not None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold everybody else off while we come or go."""
        descriptor = _open(self._turn_file)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            _release(descriptor)

    def join(self) -> None:
        """Count as a user from now on; call it in our turn."""
        self._ticket = _open(self._users_file)
        fcntl.flock(self._ticket, fcntl.LOCK_SH)

    def is_last(self) -> bool:
        """Whether nobody but us is there still; call it in our turn, on the way out."""
        if self._ticket is None:
            return False
        try:
            fcntl.flock(self._ticket, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        # Kept exclusive, it would lock out everybody if the server then does not stop.
        fcntl.flock(self._ticket, fcntl.LOCK_SH)
        return True

    def leave(self) -> None:
        """Count as a user no longer."""
        if self._ticket is not None:
            ticket, self._ticket = self._ticket, None
            _release(ticket)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _release(descriptor: int) -> None:
    # Said aloud: closing alone would leave the lock with any child that was forked meanwhile.
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)
