"""How near an answer comes to the right one, row by row: exact match, ROUGE-L, chrF, each from 0 to 1.

chrF is sacrebleu's, its reference implementation (chrF2 of single sentences). ROUGE-L is torchmetrics',
which is kept and tested against Google's rouge-score, itself unchanged since 2022; words here are those of
any script, where rouge-score knows letters from a to z alone.
"""

import importlib
import re
from collections.abc import Callable, Sequence
from typing import Any

from tuneline.errors import MissingPartError
from tuneline.steps.row_text import normalise

_WORD = re.compile(r"\w+")


def exact_match(said: str, right: str) -> float:
    """1 if both are the same but for case, width of characters and whitespace."""
    return float(normalise(said) == normalise(right))


def words(text: str) -> list[str]:
    """The words of a text, in lower case: runs of letters and digits of any script."""
    return _WORD.findall(text.lower())


def text_scores(said: Sequence[str], right: Sequence[str]) -> dict[str, list[float]]:
    """Every metric of every row. Raises: MissingPartError if the libraries are not installed."""
    rouge, chrf = _rouge_l(), _chrf()
    pairs = list(zip(said, right, strict=True))
    return {
        "exact_match": [exact_match(one, other) for one, other in pairs],
        "rouge_l": [rouge(one, other) for one, other in pairs],
        "chrf": [chrf(one, other) for one, other in pairs],
    }


def _rouge_l() -> Callable[[str, str], float]:
    score = _imported("torchmetrics.functional.text.rouge").rouge_score

    def rouge_l(said: str, right: str) -> float:
        """The F-measure of the longest common subsequence of words."""
        found = score(said, right, rouge_keys="rougeL", normalizer=str, tokenizer=words)
        return float(found["rougeL_fmeasure"])

    return rouge_l


def _chrf() -> Callable[[str, str], float]:
    metric = _imported("sacrebleu.metrics").CHRF()

    def chrf(said: str, right: str) -> float:
        return float(metric.sentence_score(said, [right]).score) / 100.0

    return chrf


def _imported(module: str) -> Any:
    """Only where texts are judged: torchmetrics brings torch."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingPartError(
            f"`evaluate.task: generate` needs {module.partition('.')[0]}, which is not installed.",
            hint="Install it with: pip install 'tuneline[train]'",
        ) from error
