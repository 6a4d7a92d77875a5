"""Work that other threads hand to a thread that sleeps in a selector."""

import contextlib
import os
import queue
import threading
from collections.abc import Callable, Iterator

Call = Callable[[], None]


class Calls:
    """A queue with a file descriptor that is readable while something is in it. `put` is thread-safe."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Call] = queue.SimpleQueue()
        self.fd, self._out = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._out, False)
        self._lock = threading.Lock()
        self._closed = False

    def put(self, call: Call) -> None:
        """Hand over a call. After `close` nobody makes it."""
        self._queue.put(call)
        with self._lock:
            if not self._closed:
                with contextlib.suppress(BlockingIOError):  # the pipe is full, so it wakes anyway
                    os.write(self._out, b"c")

    def take(self) -> Iterator[Call]:
        """What was handed over, in order."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 65536)  # before the queue is emptied: what comes later wakes again
        while not self._queue.empty():
            yield self._queue.get()

    def close(self) -> None:
        """Nobody takes any more. Once is enough: later its descriptors may be somebody else's."""
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self.fd)
                os.close(self._out)
