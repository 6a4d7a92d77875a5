"""Whether and when a task is tried again after an attempt ended badly. Pure; `execute` writes it down."""

from collections.abc import Mapping
from typing import Any

from tuneline.plan.nodes import Node
from tuneline_ir import RetryPolicy

LOST_LIMIT = 100
"""Attempts of one task that may be lost; more is no accident."""
LOST_FREE = 10
"""Lost attempts that are made again at once; later ones wait a little, and longer each time."""


def after_failure(
    policy: RetryPolicy, task: Node, error: Mapping[str, Any], now: float, *, lost: bool
) -> float | None:
    """When the task may be tried again after an attempt failed at `now`; None: it has failed.

    A lost attempt (something killed it) uses up no retry. Otherwise only errors that say `retry` are tried
    again.
    """
    if lost:
        lost_before = task.lost
        late = max(0, lost_before + 1 - LOST_FREE)
        return now + min(1.0 * late, 10.0) if lost_before < LOST_LIMIT else None
    if not error.get("retry") or task.failures >= policy.retries:
        return None
    wait_s = min(policy.backoff_s, policy.max_s)
    for _ in range(min(task.failures, 64)):
        wait_s = min(wait_s * policy.factor, policy.max_s)
    return now + wait_s
