"""ROUGE-L against its definition worked out slowly, chrF likewise."""

import random
from collections import Counter

import pytest

from tuneline.steps.text_metrics import exact_match, text_scores, words

WORDS = (
    "the",
    "a",
    "cat",
    "dog",
    "sat",
    "ran",
    "on",
    "under",
    "mat",
    "house",
    "quickly",
    "red",
    "big",
    "not",
)


def lcs(one: list[str], other: list[str]) -> int:
    table = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i, a in enumerate(one):
        for j, b in enumerate(other):
            table[i + 1][j + 1] = table[i][j] + 1 if a == b else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


def slow_rouge_l(said: str, right: str) -> float:
    one, other = said.lower().split(), right.lower().split()
    common = lcs(one, other)
    if not common:
        return 0.0
    precision, recall = common / len(one), common / len(other)
    return 2 * precision * recall / (precision + recall)


def pairs(count: int) -> list[tuple[str, str]]:
    chance = random.Random(11)
    return [
        tuple(" ".join(chance.choices(WORDS, k=chance.randint(1, 12))) for _ in range(2))  # type: ignore[misc]
        for _ in range(count)
    ]


def test_rouge_l_is_the_f_measure_of_the_longest_common_subsequence():
    found = pairs(60)
    scores = text_scores([said for said, _ in found], [right for _, right in found])
    assert scores["rouge_l"] == pytest.approx([slow_rouge_l(*pair) for pair in found], abs=1e-6)


def slow_chrf(said: str, right: str) -> float:
    """Popovic 2015: character n-grams to 6 without spaces, means over the orders both have, beta 2."""
    one, other = ("".join(text.split()) for text in (said, right))
    precisions, recalls = [], []
    for size in range(1, 7):
        grams = [Counter(text[at : at + size] for at in range(len(text) - size + 1)) for text in (one, other)]
        if all(grams):
            common = (grams[0] & grams[1]).total()
            precisions.append(common / grams[0].total())
            recalls.append(common / grams[1].total())
    p, r = (sum(values) / len(values) if values else 0.0 for values in (precisions, recalls))
    return 5 * p * r / (4 * p + r) if p + r else 0.0


def test_chrf_is_the_f_score_of_character_n_grams():
    found = pairs(60)
    scores = text_scores([said for said, _ in found], [right for _, right in found])
    assert scores["chrf"] == pytest.approx([slow_chrf(*pair) for pair in found], abs=1e-9)


@pytest.mark.parametrize(
    "said, right, same",
    [
        (" Fix  the\nlogin ", "fix the login", 1.0),
        ("ＦＩＸ", "fix", 1.0),
        ("fix it", "fix", 0.0),
        ("", "", 1.0),
    ],
)
def test_an_exact_match_looks_past_case_width_and_spaces(said, right, same):
    assert exact_match(said, right) == same


def test_words_are_those_of_any_script():
    assert words("Größe: 10 МБ, naïve—数据!") == ["größe", "10", "мб", "naïve", "数据"]
    scores = text_scores(["размер файла", ""], ["Размер файла", "x"])
    assert scores["rouge_l"] == [1.0, 0.0]
    assert scores["chrf"][1] == 0.0
