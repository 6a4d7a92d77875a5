"""Whether a window of live requests differs from the reference: one exact test a detector. Pure.

`samples.Sample` values in, a `Finding` a detector out. The unit is the request; of a session (a sticky key)
only one request counts in a window (`drift_watch`), because requests of one session repeat each other.

The false-alarm rate. Under no drift, requests of reference and window are exchangeable; then each test's
p-value is valid as it stands, for any sample size. `chance_per_test` splits the stated chance `alpha` of any
false alarm within 30 days over all looks that fit into 30 days and over the detectors (union bound). So it
holds whatever the tests share, the one reference of all looks among it.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tuneline.plan.exact_tests import fisher, ks
from tuneline.plan.samples import Sample
from tuneline.spec.sections import DETECTORS, Drift

PERIOD_S = 30 * 86_400.0
"""What the stated false-alarm rate is about: any 30 days."""
REFERENCE_WINDOWS = 2
"""The reference has so many windows' worth of requests."""
FEWEST = 50
"""Values a detector needs on either side; with fewer it says so and judges nothing."""
MAX_CELLS = 15
"""Categories that are compared; the rest are one more."""
MAX_WORDS = 200
"""Words whose share is compared."""
QUOTED_FROM = 10
"""A word or label is named only if so many requests have it; others could be what one person wrote."""
BINS = 20
"""Bars of a picture, at most."""


@dataclass(frozen=True)
class Finding:
    """What one detector says of one window."""

    detector: str
    statistic: str
    """Its test."""
    value: float | None
    """Of the statistic; None if there was too little to judge."""
    p: float | None
    """The chance of such a value without drift. None likewise."""
    threshold: float
    """Drift is `p <= threshold`."""
    reference_n: int
    window_n: int
    said: str
    """What changed, in words."""
    picture: Mapping[str, Any]
    """`{"labels": [...], "reference": [...], "window": [...]}`: shares of the same bars. Empty if nothing."""

    @property
    def drifted(self) -> bool:
        """Whether that is drift."""
        return self.p is not None and self.p <= self.threshold

    @property
    def verdict(self) -> str:
        """`drift`, `none`, or `too few`."""
        return "too few" if self.p is None else "drift" if self.drifted else "none"

    def to_json(self) -> dict[str, Any]:
        """All of it, and the verdict."""
        return {**vars(self), "picture": dict(self.picture), "verdict": self.verdict}


def looks_in_period(every_s: float) -> int:
    """How many looks begin within 30 days, at most."""
    return math.floor(PERIOD_S / every_s) + 1


def chance_per_look(settings: Drift) -> float:
    """The stated chance of a false alarm of one look."""
    return settings.alpha / looks_in_period(settings.every_s)


def chance_per_test(settings: Drift) -> float:
    """The stated chance of a false alarm of one detector at one look: its threshold."""
    return chance_per_look(settings) / max(1, len(settings.detectors))


def judge(
    reference: Sequence[Sample],
    window: Sequence[Sample],
    detectors: Sequence[str] = DETECTORS,
    threshold: float = 1e-5,
) -> tuple[Finding, ...]:
    """What each detector finds. reference: in time order; its first half makes the vocabulary."""
    return tuple(_TESTS[name](name, reference, window, threshold) for name in detectors)


# One test a kind of value


def _values(of: str) -> Callable[[str, Sequence[Sample], Sequence[Sample], float], Finding]:
    """Kolmogorov-Smirnov on a number a request."""

    def test(name: str, reference: Sequence[Sample], window: Sequence[Sample], limit: float) -> Finding:
        a, b = _present(reference, of), _present(window, of)
        return _distance(name, a, b, limit)

    return test


def _distance(name: str, a: Sequence[float], b: Sequence[float], limit: float) -> Finding:
    if min(len(a), len(b)) < FEWEST:
        return _too_few(name, KS, len(a), len(b), limit)
    value, p = ks(a, b)
    said = f"median {_short(np.median(a))} -> {_short(np.median(b))}"
    return Finding(name, KS, value, p, limit, len(a), len(b), said, _histogram(a, b))


def _categories(of: str) -> Callable[[str, Sequence[Sample], Sequence[Sample], float], Finding]:
    """Fisher's exact test of every category's share; the smallest p-value times their number."""

    def test(name: str, reference: Sequence[Sample], window: Sequence[Sample], limit: float) -> Finding:
        a, b = _present(reference, of), _present(window, of)
        if min(len(a), len(b)) < FEWEST:
            return _too_few(name, FISHER, len(a), len(b), limit)
        first, second = Counter(a), Counter(b)
        # chosen by both samples together, so that the choice says nothing about which is which
        common = [each for each, _ in _common(first + second)[:MAX_CELLS]]
        cells = [(each, first[each], second[each]) for each in common]
        rest = (len(a) - sum(cell[1] for cell in cells), len(b) - sum(cell[2] for cell in cells))
        cells += [("(others)", *rest)] if any(rest) else []
        value, p, which = _smallest(cells, len(a), len(b))
        return Finding(name, FISHER, value, p, limit, len(a), len(b), which, _bars(cells, len(a), len(b)))

    return test


def _words(name: str, reference: Sequence[Sample], window: Sequence[Sample], limit: float) -> Finding:
    """The share of requests that have a word, for the most common words."""
    a, b = _present(reference, "words"), _present(window, "words")
    if min(len(a), len(b)) < FEWEST:
        return _too_few(name, FISHER_WORDS, len(a), len(b), limit)
    first, second = (Counter(word for words in side for word in words) for side in (a, b))
    cells = [(each, first[each], second[each]) for each, _ in _common(first + second)[:MAX_WORDS]]
    value, p, which = _smallest(cells, len(a), len(b))
    moved = sorted(cells, key=lambda cell: -abs(cell[1] / len(a) - cell[2] / len(b)))[:BINS]
    return Finding(name, FISHER_WORDS, value, p, limit, len(a), len(b), which, _bars(moved, len(a), len(b)))


def _new_words(name: str, reference: Sequence[Sample], window: Sequence[Sample], limit: float) -> Finding:
    """The share of a request's words that the reference's first half does not have.

    The second half is what the window is compared with: neither was used to make the vocabulary.
    """
    sides = [one for one in reference if one.words is not None]
    half = len(sides) // 2
    vocabulary = {word for one in sides[:half] for word in one.words or ()}

    def shares(samples: Sequence[Sample]) -> list[float]:
        return [
            sum(word not in vocabulary for word in one.words) / len(one.words) for one in samples if one.words
        ]

    a, b = shares(sides[half:]), shares(window)
    found = _distance(name, a, b, limit)
    if found.p is None:
        return found
    said = f"words not seen before: {np.mean(a):.1%} -> {np.mean(b):.1%} of a request's"
    return Finding(**{**vars(found), "said": said})


def _numbers(name: str, reference: Sequence[Sample], window: Sequence[Sample], limit: float) -> Finding:
    """Kolmogorov-Smirnov on every numeric input; the smallest p-value times their number."""
    counts = Counter(column for one in (*reference, *window) for column in one.numbers)
    found = []
    for column, _ in _ranked(counts)[:MAX_CELLS]:
        a = [one.numbers[column] for one in reference if column in one.numbers]
        b = [one.numbers[column] for one in window if column in one.numbers]
        if min(len(a), len(b)) >= FEWEST:
            found.append((column, _distance(name, a, b, limit)))
    if not found:
        return _too_few(name, KS_COLUMNS, 0, 0, limit)
    column, worst = min(found, key=lambda each: each[1].p or 0.0)
    p = min(1.0, (worst.p or 0.0) * len(found))
    said = f"{column}: {worst.said}"
    return Finding(**{**vars(worst), "statistic": KS_COLUMNS, "p": p, "said": said})


def _feedback(name: str, reference: Sequence[Sample], window: Sequence[Sample], limit: float) -> Finding:
    """Whether scores got worse: of 0 and 1 by Fisher's exact test, of others by Kolmogorov-Smirnov."""
    a, b = _present(reference, "feedback"), _present(window, "feedback")
    if min(len(a), len(b)) < FEWEST:
        return _too_few(name, FISHER_FEWER, len(a), len(b), limit)
    said = f"mean {np.mean(a):.3f} -> {np.mean(b):.3f}"
    if {*a, *b} <= {0.0, 1.0}:
        p = fisher(int(sum(b)), len(b), int(sum(a)), len(a), "fewer")
        value, statistic = float(np.mean(b) - np.mean(a)), FISHER_FEWER
    else:
        (value, p), statistic = ks(a, b), KS
        if np.mean(b) >= np.mean(a):
            p, said = 1.0, f"{said}: not worse"
    return Finding(name, statistic, value, p, limit, len(a), len(b), said, _histogram(a, b))


def _errors(name: str, reference: Sequence[Sample], window: Sequence[Sample], limit: float) -> Finding:
    """Whether more requests fail."""
    m, n = len(reference), len(window)
    if min(m, n) < FEWEST:
        return _too_few(name, FISHER_MORE, m, n, limit)
    a, b = sum(one.error for one in reference), sum(one.error for one in window)
    p = fisher(b, n, a, m, "more")
    said = f"errors {a / m:.2%} -> {b / n:.2%}"
    cells = [("failed", a, b), ("answered", m - a, n - b)]
    return Finding(name, FISHER_MORE, b / n - a / m, p, limit, m, n, said, _bars(cells, m, n))


KS = "Kolmogorov-Smirnov D, exact"
KS_COLUMNS = "Kolmogorov-Smirnov D, exact, worst column (Bonferroni)"
FISHER = "largest z of a share; Fisher's exact test (Bonferroni)"
FISHER_WORDS = "largest z of a word's share; Fisher's exact test (Bonferroni)"
FISHER_MORE = "difference of shares; Fisher's exact test, more"
FISHER_FEWER = "difference of means; Fisher's exact test, fewer"
_TESTS: Mapping[str, Callable[[str, Sequence[Sample], Sequence[Sample], float], Finding]] = {
    "prompt_length": _values("prompt_length"),
    "prompt_script": _categories("script"),
    "prompt_new_words": _new_words,
    "prompt_words": _words,
    "input_numbers": _numbers,
    "output_label": _categories("label"),
    "output_number": _values("output_number"),
    "output_length": _values("output_length"),
    "confidence": _values("confidence"),
    "feedback": _feedback,
    "errors": _errors,
}


def _smallest(cells: Sequence[tuple[str, int, int]], m: int, n: int) -> tuple[float, float, str]:
    """The largest z of all cells, the smallest exact p-value times their number, and whose that is.

    Only the ten cells of the largest z are worked out: to leave one out can only make the p-value larger.
    """
    if len(cells) < 2 and all(first == m and second == n for _, first, second in cells):
        return 0.0, 1.0, f"always {cells[0][0]}" if cells else "nothing"
    ranked = sorted(cells, key=lambda cell: -abs(_z(cell[1], m, cell[2], n)))[:10]
    found = [(fisher(second, n, first, m), (label, first, second)) for label, first, second in ranked]
    p, (label, first, second) = min(found, key=lambda each: each[0])
    said = f"{label}: {first / m:.1%} -> {second / n:.1%}"
    return abs(_z(first, m, second, n)), min(1.0, p * len(cells)), said


def _z(first: int, m: int, second: int, n: int) -> float:
    share = (first + second) / (m + n)
    spread = math.sqrt(share * (1 - share) * (1 / m + 1 / n))
    return (second / n - first / m) / spread if spread else 0.0


def _ranked(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda each: (-each[1], each[0]))


def _common(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return [(each, count) for each, count in _ranked(counts) if count >= QUOTED_FROM]


def _present(samples: Sequence[Sample], of: str) -> list[Any]:
    return [value for value in (getattr(one, of) for one in samples) if value is not None]


def _too_few(name: str, statistic: str, m: int, n: int, limit: float) -> Finding:
    said = f"{m} values in the reference and {n} in the window; {FEWEST} are needed"
    return Finding(name, statistic, None, None, limit, m, n, said, {})


def _histogram(a: Sequence[float], b: Sequence[float]) -> dict[str, Any]:
    """Shares by equal steps between the 1st and the 99th percentile of both; the ends take the rest."""
    low, high = np.quantile(np.concatenate([a, b]), [0.01, 0.99])
    edges = np.linspace(low, high, BINS + 1) if high > low else np.array([low - 0.5, low + 0.5])
    sides = [np.histogram(np.clip(side, edges[0], edges[-1]), edges)[0] / len(side) for side in (a, b)]
    return {
        "labels": [_short(edge) for edge in edges[:-1]],
        "reference": [round(float(share), 5) for share in sides[0]],
        "window": [round(float(share), 5) for share in sides[1]],
    }


def _bars(cells: Sequence[tuple[str, int, int]], m: int, n: int) -> dict[str, Any]:
    return {
        "labels": [label or "(empty)" for label, _, _ in cells],
        "reference": [round(first / m, 5) for _, first, _ in cells],
        "window": [round(second / n, 5) for _, _, second in cells],
    }


def _short(value: Any) -> str:
    return f"{float(value):.4g}"
