"""Reading rules: CEL with two tests cut out of it, and every fault named before any training."""

import contextlib
import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tuneline.errors import SpecError
from tuneline.plan.rules import Test, check_rules, evaluate, parse


def test_a_call_with_keyword_arguments_becomes_a_variable_and_a_test():
    rule = parse(
        "accuracy >= 0.8 && !noninferior( f1 , base,alpha = .01, margin=2e-2) || better(accuracy, live)"
    )
    assert rule.expression == "accuracy >= 0.8 && !test_0 || test_1"
    assert rule.tests == (
        Test("noninferior", ("f1",), "base", 0.02, 0.01, "noninferior( f1 , base,alpha = .01, margin=2e-2)"),
        Test("better", ("accuracy",), "live", 0.0, 0.05, "better(accuracy, live)"),
    )
    assert rule.paths == (("accuracy",),)


def test_the_arguments_have_defaults():
    (test,) = parse("noninferior(accuracy, live)").tests
    assert (test.margin, test.alpha) == (0.04, 0.05)


def test_names_are_read_with_dots_and_with_brackets():
    rule = parse('slices.language[\'pt-BR\'].accuracy > base.accuracy - 0.1 && slices["a b"]["c"].rows >= 20')
    assert rule.paths == (
        ("slices", "language", "pt-BR", "accuracy"), ("base", "accuracy"), ("slices", "a b", "c", "rows"),
    )  # fmt: skip


def test_what_stands_in_a_string_or_comment_is_no_call():
    rule = parse('slices["better(f1, live)"].x.accuracy > 0.5 // noninferior(nothing)')
    assert rule.tests == ()
    assert evaluate(rule, {"slices": {"better(f1, live)": {"x": {"accuracy": 0.6}}}})


def test_a_macro_brings_its_own_variable():
    rule = parse("slices.language.all(v, slices.language[v].accuracy >= 0.7)")
    assert rule.paths == (("slices", "language"), ("slices", "language"))


FAULTS = {
    "acuracy >= 0.8": "unknown name `acuracy`; nearest: `accuracy`",
    "accuracy >= 0.8 || nosuch > 1": "unknown name `nosuch`",
    "f1 > 0.5 and accuracy > 0.5": "unknown name `and`; CEL writes `&&`",
    "live.acuracy > 0.5": "unknown metric `live.acuracy`; nearest: `accuracy`",
    "live > 0.5": "`live` is a model, not a number; write e.g. `live.accuracy`",
    "accuracy.x > 1": "`accuracy.x`: `accuracy` is a number and has no members",
    "slices.a.b.recall > 1": "a slice has no `recall`",
    "accuracy": "neither true nor false",
    "accuracy >=": "it is no valid CEL: mismatched input '<EOF>'",
    "accuracy = 0.8": "it is no valid CEL",
    "rows * accuracy > 300.0": "write 2.0 or double(rows)",
    "": "the rule is empty",
    "  ": "the rule is empty",
    "accuracy $ 1": "character 10, '$', is not understood",
    "aBs(accuracy) > 1": "unknown function `aBs`",
    "noninferor(accuracy, live)": "unknown function `noninferor`; nearest: `noninferior`",
    "slices.a.exist(v, true)": "unknown function `exist`; nearest: `exists`",
    "has(live.accuracy)": "unknown function `has`",
    "test_0": "unknown name `test_0`",
    "noninferior": "unknown name `noninferior`",
    "noninferior()": "`noninferior` needs a metric: `noninferior(METRIC, live, margin=0.04, alpha=0.05)`",
    "noninferior(accuracy)": "`noninferior` compares with `live` or `base`",
    "better(accuracy, candidate)": "`better` compares with `live` or `base`",
    "better(acc, live)": "`better` does not know the metric `acc`; nearest: `accuracy`",
    "better(rows, live)": "`better` does not know the metric `rows`",
    "better(slices.a.b.rows, live)": "`better` needs one slice's metric",
    "better(slices.a, live)": "`better` needs one slice's metric",
    "better(accuracy, live, margin=0.1)": "does not take `margin`; it is `better(METRIC, live, alpha=0.05)`",
    "noninferior(accuracy, live, margn=0.1)": "does not take `margn`; nearest: `margin`",
    "noninferior(accuracy, live, 0.1)": "does not take `0.1`",
    "noninferior(accuracy, live, margin=f1)": "`margin` of `noninferior` is one number, e.g. `margin=0.04`",
    "noninferior(accuracy, live, margin=0.1, margin=0.2)": "`margin` of `noninferior` is one number",
    "noninferior(accuracy, live, margin=0.1": "the call of `noninferior` does not end after 'the text'",
    "noninferior(accuracy, live, margin=0.1 + 0.1)": "the call of `noninferior` does not end after '+'",
    "noninferior(accuracy, live, margin=-0.1)": "margin=-0.1 is out of range",
    "noninferior(accuracy, live, margin=1)": "margin=1 is out of range",
    "noninferior(accuracy, live, alpha=0)": "alpha=0 is out of range",
    "better(accuracy, live, alpha=0.5)": "alpha=0.5 is out of range",
}


@pytest.mark.parametrize("text", FAULTS)
def test_a_faulty_rule_is_refused_with_its_fault(text):
    with pytest.raises(SpecError) as caught:
        parse(text)
    assert FAULTS[text] in caught.value.message


def test_every_fault_is_reported_at_once():
    rules = ["accuracy > 0.5", "acc > 1", 7, "live.f1 >", "slices.lang.de.f1 > 0.5"]
    faults = check_rules(rules, slices=["language"])
    assert [fault[: fault.index("]") + 1] for fault in faults] == ["gate[2]", "gate[3]", "gate[4]", "gate[5]"]
    assert "`lang` is no slice; list it in `evaluate.slices`; nearest: `language`" in faults[3]
    assert check_rules(["slices.language.de.f1 > 0.5"]) == []


def test_the_projects_own_rules_have_no_fault():
    assert check_rules(["accuracy >= 0.80", "noninferior(accuracy, live, margin=0.04, alpha=0.05)"]) == []


WORDS = """accuracy f1 live base slices rows noninferior better margin alpha all v in . , ( ) [ ] "x"
= >= && || ! 0.5 1 - ? : {"""
words = st.sampled_from([*WORDS.split(), " "])


@given(st.lists(words, max_size=14).map("".join) | st.text(string.printable, max_size=30))
@example("noninferior(accuracy, live, margin=")
@example("slices.all(")
@example("((((((((((")
@example("'\\")
def test_no_text_breaks_the_reader(text):
    with contextlib.suppress(SpecError):  # anything else breaks the test
        parse(text)
