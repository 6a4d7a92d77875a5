"""The loop of approvals: a thread of the server that has approved candidates gated again where that is due.

It holds no state: what waits is in the record, so a server that was killed between an approval and the run it
takes goes on at its next start. It is woken when a release or an endpoint changed and when a run ended.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack

LOG = logging.getLogger("tuneline.control")
LONGEST_S = 30.0
"""The longest sleep."""

Listen = Callable[[Callable[[], None]], AbstractContextManager[None]]
"""Calls what it is given at each change, until the block ends."""


class ApprovalLoop:
    """Looks after the approvals of one home."""

    def __init__(self, look: Callable[[], None], *listening: Listen) -> None:
        """look: `actions.approvals.Approvals.look`. Nothing happens before `start`."""
        self._look, self._listening = look, listening
        self._wake, self._stopped = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="tuneline-approvals", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Start nothing more. Runs that were started go on."""
        self._stopped.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        with ExitStack() as stack:
            for listen in self._listening:
                stack.enter_context(listen(self._wake.set))
            while not self._stopped.is_set():
                self._wake.clear()
                try:
                    self._look()
                except Exception:  # the record cannot be read now; approvals must outlive that
                    LOG.exception("approvals cannot be looked at; trying again")
                self._wake.wait(LONGEST_S)
