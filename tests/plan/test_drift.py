"""False alarms stay at or under their stated rate, stated drifts are seen, looks of a month add up."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import beta

from tuneline.errors import ConflictError
from tuneline.plan.drift import PERIOD_S, chance_per_look, chance_per_test, judge, looks_in_period
from tuneline.plan.drift_watch import (
    chosen,
    one_a_session,
    packed,
    settings_of,
    since,
    unpacked,
    why,
)
from tuneline.plan.samples import Sample
from tuneline.spec.sections import DETECTORS, Drift

WORDS = np.array([f"w{n}" for n in range(300)])
SHARES = (1 / np.arange(1, 301)) / (1 / np.arange(1, 301)).sum()
EVENTS = 2500


def draw(
    chance, count, *, longer=0.0, other=0.0, label=0.0, script=0.0, sure=0.0, liked=0.0, failed=0.0, age=0.0
):
    """Requests with every value there is; arguments are drift."""
    sizes = (chance.lognormal(2.5 + longer, 0.5, count)).astype(int) + 1
    # a row of words each; repeated words are one, as in `samples`
    rows = chance.choice(WORDS, (count, 8), p=SHARES)
    swapped = chance.random(count) < other
    draws = {name: chance.random(count) for name in ("script", "label", "liked", "told", "failed")}
    numbers, age_ = chance.beta(8, 2 + sure, count), chance.normal(age, 1, count)
    return [
        Sample(
            f"r{n}", float(n), bool(draws["failed"][n] < 0.02 + failed), True, int(sizes[n]),
            "cyrillic" if draws["script"][n] < 0.05 + script else "latin",
            tuple({f"x{word}" for word in rows[n]} if swapped[n] else set(rows[n])), {"age": float(age_[n])},
            "yes" if draws["label"][n] < 0.6 + label else "no", float(age_[n]), int(sizes[n] % 7),
            float(numbers[n]), float(draws["liked"][n] < 0.8 - liked) if draws["told"][n] < 0.6 else None,
        )
        for n in range(count)
    ]  # fmt: skip


def lower_bound(hits, of):
    """Of a rate, one-sided at 95%, by Clopper and Pearson."""
    return float(beta.ppf(0.05, hits, of - hits + 1)) if hits else 0.0


@pytest.mark.parametrize("alpha", [0.05, 0.2])
@pytest.mark.slow
def test_without_drift_a_look_alarms_at_most_as_often_as_stated_and_so_does_each_detector(alpha):
    """2,500 looks, each with a reference of its own, at rates large enough to be counted."""
    chance = np.random.default_rng(int(alpha * 100))
    looks, single = 0, dict.fromkeys(DETECTORS, 0)
    for _ in range(EVENTS if alpha == 0.05 else 500):
        found = judge(draw(chance, 120), draw(chance, 60), DETECTORS, alpha / len(DETECTORS))
        assert all(each.p is not None for each in found if each.detector != "feedback")
        looks += any(each.drifted for each in found)
        for each in found:
            single[each.detector] += each.drifted
    of = EVENTS if alpha == 0.05 else 500
    assert lower_bound(looks, of) <= alpha
    for name, hits in single.items():
        assert lower_bound(hits, of) <= alpha / len(DETECTORS), name
    assert looks > 0  # the tests are not dead


@pytest.mark.slow
def test_without_drift_a_month_of_looks_at_one_reference_alarms_at_most_as_often_as_stated():
    """60 months of 31 looks: all looks of a month share what is odd about their reference."""
    settings, chance = Drift(every_s=86_400.0, alpha=0.2), np.random.default_rng(5)
    months = 0
    for _ in range(60):
        reference = draw(chance, 120)
        months += any(
            each.drifted
            for _ in range(looks_in_period(settings.every_s))
            for each in judge(reference, draw(chance, 60), DETECTORS, chance_per_test(settings))
        )
    assert lower_bound(months, 60) <= settings.alpha


@pytest.mark.parametrize(
    "drift, detector",
    [
        ({"longer": math.log(1.25)}, "prompt_length"), ({"other": 0.12}, "prompt_new_words"),
        ({"other": 0.25}, "prompt_words"), ({"script": 0.08}, "prompt_script"),
        ({"age": 0.3}, "input_numbers"), ({"label": 0.12}, "output_label"), ({"age": 0.3}, "output_number"),
        ({"sure": 1.0}, "confidence"),
        ({"liked": 0.2}, "feedback"), ({"failed": 0.05}, "errors"),
    ],
)  # fmt: skip
@pytest.mark.slow
def test_a_stated_drift_is_seen_by_its_detector_at_the_default_threshold(drift, detector):
    chance, seen = np.random.default_rng(7), 0
    for _ in range(10):
        found = judge(draw(chance, 2000), draw(chance, 1000, **drift), [detector], chance_per_test(Drift()))
        seen += found[0].drifted
    assert seen >= 8


def test_better_feedback_and_fewer_errors_are_no_drift():
    chance = np.random.default_rng(2)
    bad, good = draw(chance, 1000, liked=0.5, failed=0.3), draw(chance, 1000)
    assert [each.drifted for each in judge(bad, good, ["feedback", "errors"])] == [False, False]
    assert [each.drifted for each in judge(good, bad, ["feedback", "errors"])] == [True, True]
    middling = [replace(one, feedback=0.5) for one in bad]
    assert [each.drifted for each in judge(good, middling, ["feedback"])] == [True]
    assert [each.drifted for each in judge(middling, good, ["feedback"])] == [False]


def test_the_stated_chance_is_split_over_all_looks_and_detectors_of_30_days():
    settings = Drift(alpha=0.06, every_s=7200.0, detectors=("errors", "feedback"))
    assert looks_in_period(settings.every_s) == 361
    assert chance_per_look(settings) * 361 == pytest.approx(0.06)
    assert chance_per_test(settings) == chance_per_look(settings) / 2
    assert looks_in_period(7000.0) * 7000.0 >= PERIOD_S


def test_too_few_values_are_said_and_judge_nothing():
    chance = np.random.default_rng(1)
    found = judge(draw(chance, 49), draw(chance, 100))
    assert {each.verdict for each in found} == {"too few"}
    assert "49 values in the reference and 100" in found[0].said
    assert not any(each.drifted for each in found)


def test_pictures_are_shares_of_everything():
    chance = np.random.default_rng(1)
    for each in judge(draw(chance, 300), draw(chance, 200)):
        assert len(each.picture["labels"]) == len(each.picture["reference"]) == len(each.picture["window"])
        if each.detector != "prompt_words":
            assert sum(each.picture["reference"]) == pytest.approx(1, abs=1e-3)


class Asked:
    """A request before its bodies are read."""

    def __init__(self, id, session=""):
        self.id, self.session = id, session


def test_of_a_session_the_first_request_counts_and_of_many_those_of_the_smallest_hash():
    asked = [Asked("a", "s"), Asked("b", "s"), Asked("c"), Asked("d"), Asked("e", "t")]
    assert [each.id for each in one_a_session(asked)] == ["a", "c", "d", "e"]
    many = [Asked(f"r{n}") for n in range(100)]
    taken = chosen(many, 30)
    assert [each.id for each in chosen(many[::-1], 30)] == [each.id for each in taken[::-1]]
    assert len({each.id for each in taken}) == 30
    assert chosen(asked, 9) == asked


def test_a_reference_s_file_is_the_same_for_the_same_requests_and_gives_them_back():
    samples = draw(np.random.default_rng(1), 20) + [Sample("half", 1.0, True, words=("\ud83d",))]
    assert packed(samples) == packed(samples)
    assert unpacked(packed(samples)) == samples
    with pytest.raises(ConflictError, match="no file of samples"):
        unpacked(b"\x1f\x8b torn")


def test_since_is_the_first_window_of_an_unbroken_row_of_drift():
    def window(n, verdict):
        return {"n": n, "findings": [{"detector": "errors", "verdict": verdict}]}

    rows = [
        window(n, verdict)
        for n, verdict in ((6, "drift"), (5, "too few"), (4, "drift"), (3, "none"), (2, "drift"))
    ]
    assert since(rows, "errors")["n"] == 4
    assert since(rows[3:], "errors") is None
    assert since(rows, "confidence") is None


def test_settings_are_those_of_the_release_and_defaults_where_it_has_none():
    assert settings_of({}) == Drift()
    found = settings_of({"monitor": {"drift": {"window": 300, "detectors": ["errors", "gone"], "later": 1}}})
    assert found == Drift(window=300, detectors=("errors",))


def test_why_names_what_changed():
    chance = np.random.default_rng(1)
    found = judge(draw(chance, 500), draw(chance, 500, failed=0.3), ["errors", "output_label"])
    assert why("m@1.0.0", found).startswith(
        "requests of m@1.0.0 drifted: errors (errors 3.00% -> 34.60%, p = "
    )
    assert why("m@1.0.0", found[1:]) == ""


def test_what_few_people_wrote_is_named_nowhere_and_nothing_written_stands_in_the_reason():
    chance = np.random.default_rng(1)
    window = [replace(one, label="secret", words=("secret",)) for one in draw(chance, 9)]
    window += [replace(one, label="maybe", words=("refund",)) for one in draw(chance, 200)]
    found = judge(draw(chance, 500), window, ["output_label", "prompt_words"])
    assert [each.drifted for each in found] == [True, True]
    assert "secret" not in str([each.to_json() for each in found])
    assert {"maybe", "(others)"} <= set(found[0].picture["labels"])
    reason = why("m@1.0.0", found)
    assert "prompt_words" in reason
    assert "refund" not in reason
    assert "maybe" not in reason
