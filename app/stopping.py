"""Word that the process is told to stop, for what would otherwise keep it from stopping."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def when_stopping(tell: Callable[[], None]) -> Iterator[None]:
    """Inside the block, have `tell` called in the event loop when the server is told to stop.

    A server waits for every open answer before its lifespan hears of the end, and a stream of events has none by
    itself. The server's own handler of the signal is called as before; where there is none, none is added.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    handlers = {number: handler for number in SIGNALS if callable(handler := signal.getsignal(number))}

    def handle(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(tell)
        handlers[signal.Signals(number)](number, frame)

    for number in handlers:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
