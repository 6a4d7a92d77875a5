"""A gate's rule as text, read: CEL over metrics and slices, plus the two tests `noninferior` and `better`.

CEL has no keyword arguments, so the tests' calls are cut out by a small strict tokenizer and replaced by
variables; what is left is plain CEL for the library. Every name is resolved before any evaluation: CEL's
`||` would hide a misspelt one. Pure text; `plan.gate` has the numbers.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cel

from tuneline.errors import SpecError
from tuneline.plan.rule_names import (
    CLASS_METRICS,
    LATENCY,
    METRICS,
    PAIRED,
    PAIRED_LATENCY,
    ROOTS,
    SLICE_METRICS,
    TABLES,
    TESTS,
    UNBOUNDED,
    nearest,
    reason_of,
    split_set,
)
from tuneline.plan.rule_sample import sample
from tuneline.plan.rule_tokens import Token, kind_at, text_at, tokens_of

_MACROS = frozenset({"all", "exists", "exists_one", "filter", "map"})
_METHODS = _MACROS | {"size", "contains", "startsWith", "endsWith", "matches"}
_FUNCTIONS = ("size", "double", "int", "uint", "string")
_SIGNS = {"and": "&&", "or": "||", "not": "!", "True": "true", "False": "false"}
_WORDS = frozenset({"true", "false", "null", "in"})
_DEFAULTS = {"noninferior": {"margin": 0.04, "alpha": 0.05}, "better": {"alpha": 0.05}}


@dataclass(frozen=True)
class Test:
    """One call of `noninferior` or `better`."""

    __test__ = False  # the name is the domain's; pytest need not collect it

    name: str
    metric: tuple[str, ...]
    """`("accuracy",)`, `("slices", column, value, "accuracy")` or either after `("sets", name)`."""
    against: str
    """`live` or `base`."""
    margin: float
    """The loss that `noninferior` tolerates, in the metric's own unit; 0 for `better`."""
    alpha: float
    text: str


@dataclass(frozen=True)
class Rule:
    """A rule, read."""

    text: str
    expression: str
    """The CEL that is left when the tests are replaced by the variables `test_0`, `test_1`, ..."""
    tests: tuple[Test, ...]
    paths: tuple[tuple[str, ...], ...]
    """Every name it reads, with its members: `("live", "accuracy")`."""


def parse(text: str, own: Collection[str] = ()) -> Rule:
    """The rule of a text. own: further metrics, as own code reports them.

    Raises: SpecError for what is no valid rule: the message names the fault, and the nearest known name.
    """
    tokens = tokens_of(text)
    bound = _bound(tokens)
    tests: list[Test] = []
    paths: list[tuple[str, ...]] = []
    pieces: list[str] = []
    at = copied = 0
    while at < len(tokens):
        token = tokens[at]
        if token.kind != "name" or (at and tokens[at - 1].text == "."):
            at += 1
        elif token.text in TESTS and text_at(tokens, at + 1) == "(":
            test, after = _test(tokens, at, text, own)
            pieces += [text[copied : token.at], f"test_{len(tests)}"]
            tests.append(test)
            copied = tokens[after - 1].at + 1
            at = after
        else:
            path, at = _chain(tokens, at)
            if path[0] in _WORDS or path[0] in bound or _is_function(tokens, at, path):
                continue
            _check_path(path, own)
            paths.append(path)
    rule = Rule(text, "".join(pieces) + text[copied:], tuple(tests), tuple(paths))
    _try_out(rule)
    return rule


def check_rules(
    rules: Sequence[Any],
    slices: Collection[str] | None = None,
    own: Collection[str] = (),
    sets: Collection[str] | None = None,
) -> list[str]:
    """Every fault of a project's rules, one line each; empty if there is none.

    `slices`: the columns that `evaluate.slices` lists, if they are known: a rule over another one is a fault.
    `sets`: the names of `evaluate.sets`, likewise.
    """
    faults = []
    for number, rule in enumerate(rules, start=1):
        if not isinstance(rule, str):
            faults.append(f"gate[{number}]: a rule is a text, this is {rule!r}; put it in quotes")
            continue
        try:
            read = parse(rule, own)
        except SpecError as fault:
            faults.append(f"gate[{number}] `{rule}`: {fault.message}")
            continue
        for path in [*read.paths, *(test.metric for test in read.tests)]:
            column = path[path.index("slices") + 1 :][:1] if "slices" in path else ()
            if slices is not None and column and column[0] not in slices:
                hint = f"list it in `evaluate.slices`{nearest(column[0], slices)}"
                faults.append(f"gate[{number}] `{rule}`: `{column[0]}` is no slice; {hint}")
            named = split_set(path[1:] if path[0] in ("base", "live") else path)[0]
            if sets is not None and "sets" in path[:2] and (not sets or (named and named not in sets)):
                hint = f"give it in `evaluate.sets`{nearest(named, sets)}"
                faults.append(f"gate[{number}] `{rule}`: `{named or 'sets'}` is no held-out set; {hint}")
    return faults


def evaluate(rule: Rule, context: Mapping[str, Any]) -> bool:
    """What CEL makes of the expression. Raises: SpecError with CEL's reason, or if it is no truth value."""
    try:
        answer = cel.evaluate(rule.expression, dict(context))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise SpecError(reason_of(error)) from error
    if not isinstance(answer, bool):
        raise SpecError(f"it gives {answer!r}, which is neither true nor false")
    return answer


def _bound(tokens: Sequence[Token]) -> set[str]:
    """Variables that macros bring: the `x` of `.all(x, ...)`."""
    return {
        tokens[at + 3].text
        for at in range(len(tokens) - 4)
        if tokens[at].text == "."
        and tokens[at + 1].text in _MACROS
        and tokens[at + 2].text == "("
        and tokens[at + 3].kind == "name"
        and tokens[at + 4].text == ","
    }


def _chain(tokens: Sequence[Token], at: int) -> tuple[tuple[str, ...], int]:
    """The name at `at` with its members (`.name`, `["text"]`), and where it ends. A method's name is none."""
    path = [tokens[at].text]
    at += 1
    while True:
        if text_at(tokens, at) == "." and kind_at(tokens, at + 1) == "name":
            if text_at(tokens, at + 2) == "(":
                method = tokens[at + 1].text
                if method not in _METHODS:
                    raise SpecError(f"unknown function `{method}`{nearest(method, _METHODS)}")
                return tuple(path), at
            path.append(tokens[at + 1].text)
            at += 2
        elif (
            text_at(tokens, at) == "["
            and kind_at(tokens, at + 1) == "string"
            and text_at(tokens, at + 2) == "]"
        ):
            path.append(_string(tokens[at + 1]))
            at += 3
        else:
            return tuple(path), at


def _is_function(tokens: Sequence[Token], at: int, path: tuple[str, ...]) -> bool:
    if len(path) > 1 or text_at(tokens, at) != "(":
        return False
    if path[0] not in _FUNCTIONS:
        raise SpecError(f"unknown function `{path[0]}`{nearest(path[0], (*TESTS, *_FUNCTIONS))}")
    return True


def _check_path(path: tuple[str, ...], own: Collection[str]) -> None:
    """Raises SpecError if no report can have this name."""
    written, rest = ".".join(path), path
    if path[0] not in ROOTS and path[0] not in own:
        meant = f"; CEL writes `{_SIGNS[path[0]]}`" if path[0] in _SIGNS else nearest(path[0], ROOTS)
        raise SpecError(f"unknown name `{path[0]}`{meant}")
    if path[0] in ("base", "live"):
        rest = path[1:]
        if not rest:
            raise SpecError(f"`{written}` is a model, not a number; write e.g. `{written}.accuracy`")
        if rest[0] not in (*METRICS, *TABLES, "slices", "sets", "latency") and rest[0] not in own:
            raise SpecError(f"unknown metric `{written}`{nearest(rest[0], METRICS)}")
    if rest[0] == "latency":
        _check_latency(rest, written)
    elif rest[0] != "sets":
        _check_within(rest, written, own)
    elif within := split_set(rest)[1]:
        here = (*METRICS, *TABLES, "slices", "rows", "left_out")
        if within != rest and within[0] not in here and within[0] not in own:
            raise SpecError(f"a set has no `{within[0]}` (`{written}`){nearest(within[0], here)}")
        if within != rest:  # otherwise all sets: for macros
            _check_within(within, written, own)


def _check_within(rest: tuple[str, ...], written: str, own: Collection[str]) -> None:
    """The name within one model's numbers on one held-out set."""
    if rest[0] == "slices":
        if len(rest) == 4 and rest[3] not in SLICE_METRICS and rest[3] not in own:
            raise SpecError(f"a slice has no `{rest[3]}` (`{written}`){nearest(rest[3], SLICE_METRICS)}")
        rest = rest[3:]
    elif rest[0] in TABLES:
        _check_table(rest, written)
        return
    if len(rest) > 1:
        raise SpecError(f"`{written}`: `{rest[0]}` is a number and has no members")


def _check_latency(path: tuple[str, ...], written: str) -> None:
    if len(path) == 1:
        raise SpecError(f"`{written}` is no number; write e.g. `{written}.p95`")
    if len(path) > 2 or path[1] not in LATENCY:
        raise SpecError(f"there is no `{written}`{nearest(path[1], LATENCY)}")


def _check_table(path: tuple[str, ...], written: str) -> None:
    if len(path) != 3:
        usage = "confusion_matrix.TRUE.PREDICTED" if path[0] == "confusion_matrix" else "classes.LABEL.recall"
        raise SpecError(f"`{written}` is no number; write e.g. `{usage}`")
    if path[0] == "classes" and path[2] not in CLASS_METRICS:
        raise SpecError(f"a class has no `{path[2]}` (`{written}`){nearest(path[2], CLASS_METRICS)}")


def _test(tokens: Sequence[Token], at: int, text: str, own: Collection[str]) -> tuple[Test, int]:
    """The test whose call starts at `at`, and where it ends."""
    name, start = tokens[at].text, tokens[at].at
    known = _DEFAULTS[name]
    usage = f"{name}(METRIC, live" + "".join(f", {key}={value}" for key, value in known.items()) + ")"
    if kind_at(tokens, at + 2) != "name":
        raise SpecError(f"`{name}` needs a metric: `{usage}`")
    metric, at = _chain(tokens, at + 2)
    _check_metric(name, metric, own)
    if text_at(tokens, at) != "," or text_at(tokens, at + 1) not in ("live", "base"):
        raise SpecError(f"`{name}` compares with `live` or `base`: `{usage}`")
    against, at = tokens[at + 1].text, at + 2
    given: dict[str, float] = {}
    while text_at(tokens, at) == ",":
        key = text_at(tokens, at + 1)
        if key not in known or text_at(tokens, at + 2) != "=":
            raise SpecError(f"`{name}` does not take `{key}`{nearest(key, known)}; it is `{usage}`")
        sign = -1 if text_at(tokens, at + 3) == "-" else 1
        at += 4 if sign < 0 else 3
        if kind_at(tokens, at) != "number" or key in given:
            raise SpecError(f"`{key}` of `{name}` is one number, e.g. `{key}={known[key]}`")
        given[key] = sign * float(tokens[at].text.rstrip("u"))
        at += 1
    if text_at(tokens, at) != ")":
        raise SpecError(
            f"the call of `{name}` does not end after {text_at(tokens, at) or 'the text'!r}: `{usage}`"
        )
    values = {**known, **given}
    test = Test(
        name, metric, against, values.get("margin", 0.0), values["alpha"], text[start : tokens[at].at + 1]
    )
    _check_range(test)
    return test, at + 1


def _check_metric(name: str, metric: tuple[str, ...], own: Collection[str]) -> None:
    if metric[0] == "sets":
        named, within = split_set(metric)
        if not named or not within:
            raise SpecError(f"`{name}` needs one set's metric: `sets.NAME.accuracy`")
        _check_path(metric, own)
        metric = within
    if metric[0] == "latency":
        _check_path(metric, own)
        if metric[1] not in PAIRED_LATENCY:
            known = " and ".join(f"`latency.{one}`" for one in PAIRED_LATENCY)
            raise SpecError(f"`{name}` does not know `{'.'.join(metric)}`; of latency it knows {known}")
    elif metric[0] == "slices":
        _check_path(metric, own)
        if len(metric) != 4 or metric[3] == "rows":
            raise SpecError(f"`{name}` needs one slice's metric: `slices.COLUMN.VALUE.accuracy`")
    elif len(metric) > 1 or (metric[0] not in PAIRED and (metric[0] in ROOTS or metric[0] not in own)):
        written = ".".join(metric)
        raise SpecError(f"`{name}` does not know the metric `{written}`{nearest(written, PAIRED)}")


def _check_range(test: Test) -> None:
    if not 0 < test.alpha < 0.5:
        raise SpecError(f"alpha={test.alpha:g} is out of range: it is above 0 and under 0.5, usually 0.05")
    unbounded = test.metric[-1] in UNBOUNDED or test.metric[-1] not in METRICS
    if not 0 <= test.margin < (math.inf if unbounded else 1):
        raise SpecError(f"margin={test.margin:g} is out of range: it is from 0 to under 1, e.g. 0.04")


def _try_out(rule: Rule) -> None:
    """Run the expression on made-up numbers, so that a syntax or type fault is found before any training."""
    tests = {f"test_{number}": True for number in range(len(rule.tests))}
    evaluate(rule, sample(rule.paths) | tests)


def _string(token: Token) -> str:
    return str(cel.evaluate(token.text, {}))
