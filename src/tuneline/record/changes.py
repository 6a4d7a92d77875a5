"""Who waits for what: wakes long polls the moment something was committed. Nothing is stored here."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Wake = Callable[[], None]

ENDED = "runs that ended"
"""The topic of all runs that end."""


class Changes:
    """Listeners by topic (a run's id, `endpoints`). Thread-safe.

    `notify` runs the listeners in the caller's thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: dict[str, list[Wake]] = {}

    @contextmanager
    def listening(self, topic: str, wake: Wake) -> Iterator[None]:
        """Call `wake` (quick, never raising) at each change of `topic` until the block ends."""
        with self._lock:
            self._listeners.setdefault(topic, []).append(wake)
        try:
            yield
        finally:
            with self._lock:
                self._listeners[topic].remove(wake)
                if not self._listeners[topic]:
                    del self._listeners[topic]

    def notify(self, topic: str) -> None:
        """Say that something of `topic` was committed."""
        with self._lock:
            todo = list(self._listeners.get(topic, ()))
        for wake in todo:
            wake()

    def notify_all(self) -> None:
        """Wake everybody, e.g. because the server stops."""
        with self._lock:
            todo = [wake for listeners in self._listeners.values() for wake in listeners]
        for wake in todo:
            wake()
