"""What a classification is worth: pure functions of labels and probabilities, in numpy.

Labels are indices into a list of `classes`; probabilities are [rows, classes], each row summing to 1.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]
Probabilities = NDArray[np.float64]


def accuracy(truth: Labels, guess: Labels) -> float:
    """The share of rows guessed right; 0 of none."""
    return float(np.mean(truth == guess)) if len(truth) else 0.0


def confusion_matrix(truth: Labels, guess: Labels, classes: int) -> NDArray[np.int64]:
    """[classes, classes]: how many rows of class i were guessed as j."""
    return (
        np.bincount(truth * classes + guess, minlength=classes * classes)
        .reshape(classes, classes)
        .astype(np.int64)
    )


def macro_f1(matrix: NDArray[np.int64]) -> float:
    """The plain mean of each class's F1; a class that is neither there nor guessed is left out."""
    right = np.diag(matrix).astype(float)
    guessed_or_there = matrix.sum(axis=0) + matrix.sum(axis=1)  # 2 tp + fp + fn
    seen = guessed_or_there > 0
    return float(np.mean(2 * right[seen] / guessed_or_there[seen])) if seen.any() else 0.0


def by_class(matrix: NDArray[np.int64], classes: list[str]) -> dict[str, dict[str, float]]:
    """Precision, recall and F1 of each class that is there or was guessed, 0 where there is nothing to divide
    by, and its rows."""
    right = np.diag(matrix).astype(float)
    guessed, there = matrix.sum(axis=0).astype(float), matrix.sum(axis=1).astype(float)
    found = {}
    for at in np.flatnonzero(guessed + there):
        found[classes[at]] = {
            "precision": float(right[at] / guessed[at]) if guessed[at] else 0.0,
            "recall": float(right[at] / there[at]) if there[at] else 0.0,
            "f1": float(2 * right[at] / (guessed[at] + there[at])),
            "rows": int(there[at]),
        }
    return found


def of_guesses(truth: Labels, guess: Labels, classes: list[str]) -> dict[str, Any]:
    """What guesses alone tell: accuracy, macro F1, precision and recall, the confusion matrix, each class."""
    matrix = confusion_matrix(truth, guess, len(classes))
    each = by_class(matrix, classes)
    return {
        "accuracy": accuracy(truth, guess),
        "f1": macro_f1(matrix),
        **{
            name: float(np.mean([one[name] for one in each.values()] or [0]))
            for name in ("precision", "recall")
        },
        "confusion_matrix": {"labels": classes, "rows": matrix.tolist()},
        "classes": each,
    }


def log_loss(truth: Labels, probabilities: Probabilities) -> float:
    """Mean negative log of the probability of the true class, in nats; probabilities under 1e-15 count as
    that."""
    if not len(truth):
        return 0.0
    given = probabilities[np.arange(len(truth)), truth]
    return float(-np.mean(np.log(np.clip(given, 1e-15, 1.0))))


def calibration_error(truth: Labels, probabilities: Probabilities, bins: int = 10) -> float:
    """Expected calibration error: how far, on average, the confidence in a guess is from how often it is
    right.

    Guesses are put in `bins` equal bins of confidence, (0, 0.1], (0.1, 0.2], ...; each weighs as many rows
    as it has.
    """
    if not len(truth):
        return 0.0
    confidence = probabilities.max(axis=1)
    right = (probabilities.argmax(axis=1) == truth).astype(float)
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(index, minlength=bins)
    gap = np.abs(np.bincount(index, right, bins) - np.bincount(index, confidence, bins))
    return float(gap.sum() / counts.sum())


def report(truth: Labels, probabilities: Probabilities, classes: list[str]) -> dict[str, Any]:
    """All of the above as a report has it."""
    return {
        **of_guesses(truth, probabilities.argmax(axis=1).astype(np.int64), classes),
        "ece": calibration_error(truth, probabilities),
        "log_loss": log_loss(truth, probabilities),
    }


def slices(
    truth: Labels, probabilities: Probabilities, values: list[str], classes: int
) -> dict[str, dict[str, Any]]:
    """Accuracy and F1 of the rows of each distinct value, in the values' order."""
    guess = probabilities.argmax(axis=1).astype(np.int64)
    column = np.array(values, dtype=object)
    found = {}
    for value in sorted(set(values)):
        here = column == value
        matrix = confusion_matrix(truth[here], guess[here], classes)
        found[value] = {
            "rows": int(here.sum()),
            "accuracy": accuracy(truth[here], guess[here]),
            "f1": macro_f1(matrix),
        }
    return found
