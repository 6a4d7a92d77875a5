"""The names a gate's rule may say: metrics, tables and tests; which way is better. Pure."""

import difflib
from collections.abc import Collection

METRICS = (
    *("accuracy", "f1", "precision", "recall", "ece", "log_loss"),
    *("mse", "mae", "rmse", "r2"),
    *("exact_match", "rouge_l", "chrf"),
)
"""Of the candidate; `base.` and `live.` before them mean those models'. Own code may report others."""
TABLES = ("confusion_matrix", "classes")
"""`confusion_matrix.TRUE.PREDICTED` is a number of rows; `classes.LABEL.recall` a metric of one class."""
CLASS_METRICS = ("precision", "recall", "f1", "rows")
SLICE_METRICS = tuple(
    name for name in METRICS if name not in ("precision", "recall", "r2", "ece", "log_loss")
) + ("rows",)
TESTS = ("noninferior", "better")
LATENCY = ("p50", "p95", "mean", "ttft_p50", "ttft_p95", "ttft_mean", "tokens_per_s", "prompts", "requests")
"""`latency.p95` and so on: seconds, measured of the runtime as it will be deployed."""
PAIRED_LATENCY = ("mean", "ttft_mean")
"""Of those, what `noninferior` and `better` know: means of seconds over prompts."""
ROOTS = (*METRICS, *TABLES, "base", "live", "slices", "sets", "latency", "rows", "left_out")
PAIRED = tuple(name for name in METRICS if name not in ("precision", "recall", "r2"))
"""Metrics that `noninferior` and `better` know."""
_LOWER = frozenset({"ece", "log_loss", "mse", "mae", "rmse"})
UNBOUNDED = frozenset({"log_loss", "mse", "mae", "rmse"})


class AnyName(frozenset[str]):
    """Metrics of own code before it ran: any name may be one."""

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name not in ("base", "live", "slices", "sets", "latency")


def lower_is_better(metric: str) -> bool:
    """Whether less of a metric is better: of errors and losses, those of own code told by their name."""
    return metric in _LOWER or metric.endswith(("loss", "error", "mse", "mae"))


def split_set(path: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The held-out set that a name speaks of, "" for the main one, and the name within it."""
    return (path[1], path[2:]) if path[:1] == ("sets",) and len(path) > 1 else ("", path)


def nearest(word: str, known: Collection[str]) -> str:
    """`; nearest: \\`accuracy\\``, or nothing if no known word is near."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; nearest: `{found[0]}`" if found else ""


def reason_of(error: BaseException) -> str:
    """What CEL found wrong, in a few words."""
    lines = [line for line in str(error).splitlines() if line.strip() and not line.startswith("|")]
    first = " ".join(lines[:1]) or type(error).__name__
    if isinstance(error, ValueError) and "Syntax error: " in first:
        return f"it is no valid CEL: {first.split('Syntax error: ', 1)[1]}"
    if isinstance(error, KeyError):
        return f"there is no {first}"
    if isinstance(error, TypeError):
        said = first.split(". ")[0].rstrip(".")
        return f"{said}; CEL mixes no whole and decimal numbers: write 2.0 or double(rows)"
    return first
