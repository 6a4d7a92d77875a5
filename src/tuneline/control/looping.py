"""One loop of the server: a thread that looks after something, and sleeps until that may have changed.

Recurring runs, approvals, notices, drift, request lines and endpoints have one each. A loop holds nothing
that matters: the server may be killed at any moment, and the next one goes on from the record and the files.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack

from tuneline.errors import TunelineError

LOG = logging.getLogger("tuneline.control")
RETRY_S = 5.0
"""After a look that failed as a whole."""

Listen = Callable[[Callable[[], None]], AbstractContextManager[None]]
"""Calls what it is given at each change, until the block ends."""


class Loop:
    """Looks, sleeps, and looks again, until it is stopped."""

    def __init__(
        self, name: str, look: Callable[[], float], *listening: Listen, retry_s: float = RETRY_S
    ) -> None:
        """name: of what is looked after. look: does what is due, and gives the seconds until the next look if
        nothing changes; whatever it raises is logged, and it is called again after `retry_s`. listening: what
        wakes it. Nothing happens before `start`."""
        self._name, self._look, self._listening, self._retry_s = name, look, listening, retry_s
        self._wake, self._stopped = threading.Event(), threading.Event()
        thread_name = f"tuneline-{name.replace(' ', '-')}"
        self._thread = threading.Thread(target=self._run, name=thread_name, daemon=True)

    @property
    def stopped(self) -> bool:
        """Whether it shall look no more: a long look ends early then."""
        return self._stopped.is_set()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Look now. In any thread."""
        self._wake.set()

    def pause(self, seconds: float) -> None:
        """Sleep, but not past the end. For threads that `look` started."""
        self._stopped.wait(seconds)

    def stop(self) -> None:
        """End the look under way, and look no more. What was started elsewhere goes on."""
        self._stopped.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        with ExitStack() as stack:
            for listen in self._listening:
                stack.enter_context(listen(self.wake))
            while not self.stopped:
                self._wake.clear()
                self._wake.wait(self._look_once())

    def _look_once(self) -> float:
        try:
            return self._look()
        except TunelineError as error:
            LOG.error("%s cannot be looked at; trying again: %s", self._name, error.message)
        except Exception:  # the record, say, cannot be read now; the loop must outlive that
            LOG.exception("%s cannot be looked at; trying again", self._name)
        return self._retry_s
