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
        """Open the lock files in `folder`; it must exist."""
        self._turn = _open(folder / "lock")
        self._users = _open(folder / "users.lock")
        self.is_over = False

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold everybody else off while we come or go.

        A turn that was interrupted before it was given back is simply ours again, since a lock
        belongs to the open file and we have but one.
        """
        fcntl.flock(self._turn, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)

    def join(self) -> None:
        """Count as a user from now on; call it in our turn."""
        fcntl.flock(self._users, fcntl.LOCK_SH)

    def is_last(self) -> bool:
        """Whether nobody but us is there still; call it in our turn, on the way out."""
        try:
            fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        # Kept exclusive, it would lock out everybody if the server then does not stop.
        fcntl.flock(self._users, fcntl.LOCK_SH)
        return True

    def leave(self) -> None:
        """Count as a user no longer; call it in our turn."""
        # Said aloud: closing alone would leave the lock with any child that was forked meanwhile.
        fcntl.flock(self._users, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the lock files, after the last turn."""
        self.is_over = True
        os.close(self._turn)
        os.close(self._users)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
