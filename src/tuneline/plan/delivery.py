"""When a notice that was not taken is sent again. Pure.

A target that is busy or away is asked again and again, ever more rarely; one that says no for good is not.
"""

from dataclasses import dataclass

MAX_ATTEMPTS = 20
"""With the waits below: about six hours."""
FIRST_S, LONGEST_S = 5.0, 1800.0
POLITE_S = 3600.0
"""The longest wait that a service may ask for."""
LATEST_S = 3 * 86_400.0
"""A notice older than this is news to nobody."""


@dataclass(frozen=True)
class Outcome:
    """How one attempt ended."""

    delivered: bool
    error: str = ""
    """What a person should know; it holds nothing of the URL."""
    final: bool = False
    """The service said no, and would say no again."""
    retry_after_s: float = 0.0
    """The wait that the service asked for."""


def wait_s(attempts: int, retry_after_s: float = 0.0) -> float:
    """Seconds until the next attempt, after so many of them."""
    backoff = min(LONGEST_S, FIRST_S * 2.0 ** min(max(0, attempts - 1), 30))
    return max(backoff, min(retry_after_s, POLITE_S))


def next_at(outcome: Outcome, attempts: int, now: float) -> float | None:
    """When to try again what was not taken at the attempt number `attempts`; None: never."""
    if outcome.final or attempts >= MAX_ATTEMPTS:
        return None
    return now + wait_s(attempts, outcome.retry_after_s)


def http_says_no(status: int) -> bool:
    """Whether an HTTP status will be the same next time: the client's fault, but for those about time."""
    return 400 <= status < 500 and status not in (408, 425, 429)
