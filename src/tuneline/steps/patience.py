"""Trying again what may pass: after as long as a server asks to wait, else after waits that double.

Its users say by `AgainError` that an attempt was in vain; everything else they raise ends it at once.
"""

from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import TypeVar

from tuneline.errors import NetworkError
from tuneline.steps.downloads import Desk

T = TypeVar("T")

ATTEMPTS = 5
"""Attempts that bring nothing, one after another, before giving up. An attempt that brings bytes starts the
count again."""
UNREACHABLE_ATTEMPTS = 2
"""The same where no connection could be made at all: usually there is no network."""
LONGEST_WAIT_S = 60.0
"""A server that asks for more patience than this is given up."""


class AgainError(Exception):
    """This attempt brought nothing whole; the next may."""

    def __init__(self, what: str, wait_s: float | None = None, unreachable: bool = False) -> None:
        super().__init__(what)
        self.wait_s = wait_s
        self.unreachable = unreachable


def patiently(work: Callable[[], T], desk: Desk, what: str, arrived: Callable[[], int] = lambda: 0) -> T:
    """What `work` gives, at the first attempt that gives something.

    Args:
        what: what is brought, for the error: an address without secrets.
        arrived: bytes that are here; more than before an attempt mean that it was worth something.
    Raises: NetworkError once there is no hope; whatever else `work` raises.
    """
    failures = 0
    while True:
        before = arrived()
        try:
            return work()
        except AgainError as again:
            failures = 1 if arrived() > before else failures + 1
            allowed = UNREACHABLE_ATTEMPTS if again.unreachable else ATTEMPTS
            wait_s = 0.5 * 2.0 ** (failures - 1) if again.wait_s is None else again.wait_s
            if failures >= allowed or wait_s > LONGEST_WAIT_S:
                asked = f", asking to wait {wait_s:.0f} s" if wait_s > LONGEST_WAIT_S else ""
                raise NetworkError(
                    f"{what} could not be downloaded: {again}{asked}.",
                    hint="Check the network and the address, then run it again: what has arrived is kept.",
                ) from again
            desk.sleep(wait_s)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """How long the headers of an answer ask to wait; None if they do not. `headers` has small letters, or
    does not mind."""
    text = str(headers.get("retry-after") or "").strip()
    if text.isdigit():
        return float(text)
    try:
        asked = parsedate_to_datetime(text)
        now = parsedate_to_datetime(str(headers.get("date") or ""))
    except (TypeError, ValueError):
        return None
    return max(0.0, (asked - now).total_seconds())
