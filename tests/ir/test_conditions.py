"""Conditions and selectors: what the `kfp` SDK compiles, compared with a CEL library, and what is refused."""

import json
import math
from typing import Any

import cel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneline_ir import (
    ConditionError,
    evaluate,
    parse_condition,
    parse_selector,
    reads,
    select,
)

S, I, F, B = (f"inputs.parameter_values['pipelinechannel--{name}-Output']" for name in "sifb")  # noqa: E741
CHANNELS = {f"pipelinechannel--{name}-Output": name for name in "sifb"}


def decide(text: str, **values: Any) -> bool:
    """The condition with the outputs of the tasks `s`, `i`, `f` and `b`."""
    return evaluate(parse_condition(text), {key: values[n] for key, n in CHANNELS.items() if n in values})


COMPILED = [
    # as `kfp` 2.17.0 compiles `dsl.If(<channel> <operator> <operand>)`: text, values, result
    (f"{S} == 'a'", {"s": "a"}, True),
    (f"{S} != 'a'", {"s": "a"}, False),
    (f"{S} < 'b'", {"s": "a"}, True),
    (f"{S} <= 'a'", {"s": "b"}, False),
    (f"{S} > 'a'", {"s": "b"}, True),
    (f"{S} >= 'a'", {"s": "A"}, False),
    (f"int({I}) == 5", {"i": 5}, True),
    (f"int({I}) == 5", {"i": 5.0}, True),  # protobuf's JSON
    (f"int({I}) != 5", {"i": 6}, True),
    (f"int({I}) < -5", {"i": -6.0}, True),
    (f"int({I}) <= 5", {"i": 6}, False),
    (f"int({I}) > 5", {"i": 6}, True),
    (f"int({I}) >= 5", {"i": 4}, False),
    (f"int({I}) < 1000000000000000000000000000000", {"i": 1}, True),
    (f"{S} == '5'", {"s": "5"}, True),  # s == 5
    (f"{S} == '5.5'", {"s": "5.5"}, True),
    (f"{S} == 'true'", {"s": "true"}, True),
    (f"double(int({I})) < 2.5", {"i": 2}, True),  # i < 2.5
    (f"{F} >= double(3)", {"f": 3.0}, True),
    (f"{F} >= double(3)", {"f": 3}, True),
    (f"{F} >= 1e-07", {"f": 1e-8}, False),
    (f"{F} < 1e+300", {"f": 1.0}, True),
    (f"{F} < inf", {"f": 1e300}, True),  # CEL has no such name; Python's text of a float has
    (f"{F} > -inf", {"f": -1e300}, True),
    (f"{F} == nan", {"f": 1.0}, False),
    (f"{F} < -0.5", {"f": -1.0}, True),
    (f"{B} == true", {"b": True}, True),
    (f"{B} == false", {"b": True}, False),
    (f"{B} != {B}", {"b": True}, False),
    (f"{S} == {S}", {"s": "a"}, True),
    (f"double(int({I})) == {F}", {"i": 2, "f": 2.0}, True),
    (f"int({I}) == int({I})", {"i": 2}, True),
    # a channel of another type beside a text is written in quotes
    (f"'int({I})' == '5'", {"i": 5.0}, True),
    (f"'{F}' == '1'", {"f": 1.0}, True),
    (f"'{B}' == 'true'", {"b": True}, True),
    (f"'{B}' != {S}", {"b": True, "s": "true"}, False),
    (f"{S} == 'int({I})'", {"s": "7", "i": 7}, True),
    # Elif and Else
    (f"!(int({I}) == 1) && int({I}) == 2", {"i": 2}, True),
    (f"!(int({I}) == 1) && !(int({I}) == 2)", {"i": 2}, False),
    (f"!({S} == 'a') && !({S} == 'b')", {"s": "c"}, True),
    (f"!('{B}' == 'true') && !({S} == 'b')", {"b": False, "s": "c"}, True),
    # texts are not escaped
    (f"{S} == ''", {"s": ""}, True),
    (f"{S} == 'it's \"q\"'", {"s": 'it\'s "q"'}, True),
    (f"{S} == 'say 'hi''", {"s": "say 'hi'"}, True),
    (f"{S} == '''", {"s": "'"}, True),
    (f"{S} == 'a\nb'", {"s": "a\nb"}, True),
    (f"{S} == 'a && b' == 'c'", {"s": "a && b' == 'c"}, True),
    (f"{S} == '{{{{x}}}} (y)'", {"s": "{{x}} (y)"}, True),
    (f"{S} == 'grün 'ü''", {"s": "grün 'ü'"}, True),
    (f"{S} == 'C:\\dir'", {"s": "C:\\dir"}, True),
    (f"{S} == 'name == 'x' AND age > 3'", {"s": "name == 'x' AND age > 3"}, True),
    (f"!({S} == 'f('x') && g') && {S} == 'o'k'", {"s": "o'k"}, True),
    (f"!({S} == 'it's') && !({S} == 'so 'it' is')", {"s": "so 'it' is"}, False),
]


@pytest.mark.parametrize(("text", "values", "result"), COMPILED)
def test_what_the_sdk_compiles_is_decided(text: str, values: dict[str, Any], result: bool) -> None:
    assert decide(text, **values) is result


@pytest.mark.parametrize(
    ("text", "values", "result"),
    [
        (f"{S} == 'a\\'b\\n\\u00fc\\x41\\101'", {"s": "a'b\nüAA"}, True),  # CEL's escapes
        (f'{S} == "it\'s"', {"s": "it's"}, True),
        (f"({S}=='a')==true", {"s": "a"}, True),
        (f"  ( {S}\n== 'a' ||{B} ) && ! ! {B} ", {"s": "b", "b": True}, True),
        ("true", {}, True),
        ("!true || false", {}, False),
        (f"{B}", {"b": False}, False),
        (f"parseJson({S})[\"k\"][1]['x'] == 3", {"s": '{"k": [0, {"x": 3}]}'}, True),
        ("int('12') == 12 && double('1.5') > 1", {}, True),
        ("int(3.7) == 3 && int(-3.7) == -3", {}, True),
        ("9007199254740993 == 9007199254740992.0", {}, False),  # compared exactly
        # an optional input without a value is null
        (f"{S} == 'a'", {"s": None}, False),
        (f"{S} != 'a'", {"s": None}, True),
        (f"'{B}' == 'true'", {"b": None}, False),
        # values of different kinds are never equal
        (f"{S} == 5", {"s": "5"}, False),
        (f"{B} != true", {"b": "true"}, True),
        (f"{B} == 1", {"b": True}, False),
        (f"{S} == {S}", {"s": [1, {"a": 2}]}, True),
        (f"parseJson({S})[0] == parseJson({S})[1]", {"s": "[[1], [true]]"}, False),
        (f"parseJson({S})[0] == parseJson({S})[1]", {"s": '[{"a": 1}, {"a": 1.0}]'}, True),
        # one side decides, whatever is wrong with the other
        (f"{S} == 'a' && {B}", {"b": False}, False),
        (f"{B} || {S} == 'a'", {"b": True}, True),
    ],
)
def test_more_than_the_sdk_compiles_is_decided_as_cel_has_it(
    text: str, values: dict[str, Any], result: bool
) -> None:
    assert decide(text, **values) is result


@pytest.mark.parametrize(
    ("text", "values", "why"),
    [
        (f"{S} == 'a'", {}, "the input `pipelinechannel--s-Output` has no value"),
        (f"{S}", {"s": "true"}, "the STRING 'true' is neither true nor false"),
        (f"!{S}", {"s": 1}, "the number 1 is neither"),
        (f"{B} < true", {"b": "true"}, "the STRING 'true' and the BOOLEAN True cannot be compared"),
        (f"{S} >= 5", {"s": "5"}, "the STRING '5' and the number 5 cannot be compared with `>=`"),
        (f"{S} < 5", {"s": None}, "null and the number 5 cannot be compared with `<`"),
        (f"{S} < {S}", {"s": [1]}, r"the LIST \[1\] and the LIST \[1\] cannot be compared"),
        (f"int({I}) == 5", {"i": "five"}, "the STRING 'five' is no integer"),
        (f"int({I}) == 5", {"i": True}, "the BOOLEAN True is no integer"),
        (f"int({I}) == 5", {"i": None}, "null is no integer"),
        (f"int({I}) == 5", {"i": math.inf}, "the number inf is no integer"),
        (f"int({I}) == 5", {"i": 1e30}, "is no integer"),
        (f"double({F}) > 1", {"f": "1_0"}, "the STRING '1_0' is no number"),
        (f"double({F}) > 1", {"f": 10**400}, "is no number"),
        (f"parseJson({S})['a'] == 1", {"s": '{"b": 1}'}, "there is no key 'a'; the keys are: b"),
        (f"parseJson({S})[0] == 1", {"s": "[]"}, "there is no index 0"),
        (f"parseJson({S})[0] == 1", {"s": "nope"}, "the STRING 'nope' is no JSON"),
        (f"parseJson({S}) == 1", {"s": 1}, "the number 1 is no text"),
        (f"{S} == 'a' && {B}", {"b": True}, "has no value"),
    ],
)
def test_a_condition_that_cannot_be_decided_says_why(text: str, values: dict[str, Any], why: str) -> None:
    with pytest.raises(ConditionError, match=why) as caught:
        decide(text, **values)
    assert text[:30] in str(caught.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "character 1: a value is missing"),
        (f"{S} ==", "a value is missing"),
        (f"{S} = 'a'", "`=` \\(equality is `==`\\)"),
        (f"{S} & {S}", "`&` \\(both is `&&`\\)"),
        (f"{I} + 1 == 2", r"arithmetic \(`\+`\) is not supported"),
        (f"({I} * 2) == 2", r"arithmetic \(`\*`\)"),
        (f"-{I} == 2", r"arithmetic \(`-`\)"),
        (f"{B} ? true : false", "a choice"),
        (f"{S} in ['a']", "`in`"),
        (f"['a'] == {S}", "an index"),
        (f"size({S}) > 1", "the function `size`"),
        (f"has({S})", "the function `has`"),
        (f"{S} == null", "`null`"),
        (f"{S}.size() > 1", "a field"),
        (f"{S}[0] == 'a'", "an index"),
        ("inputs.artifacts['m'].artifacts[0].uri == 'x'", "`inputs`"),
        ("inputs.parameter_values.x == 'a'", "`inputs`"),
        ("inputs.parameter_values[x] == 'a'", "a quoted name is missing"),
        ("1 < 2 < 3", "a chain of comparisons"),
        (f"{S} == r'a'", "`r`"),
        (f"{S} == 0x10", "`0x10`"),
        (f"{S} == 1u", "`1u`"),
        (f"{S} == 'a", "no closing quote"),
        (f"{S} == 'a'b", "no closing quote"),
        (f"({S} == 'a'", r"`\)` is missing"),
        (f"{S} == 'a')", r"`\)` is not supported"),
        (f"int({I} == 5", r"`\)` is missing"),
        ("(" * 200 + "true" + ")" * 200, "nested more than 64 deep"),
        ("!" * 100_000 + "true", "nested more than 64 deep"),
        ("int(" * 3000 + "1", "nested more than 64 deep"),
        ("1 == " + "9" * 5000, "a number is too long"),
        ("__import__('os').system('x')", "the function `__import__`"),
    ],
)
def test_everything_else_is_refused_by_name_with_its_place(text: str, why: str) -> None:
    with pytest.raises(ConditionError, match=why) as caught:
        parse_condition(text)
    assert "character" in str(caught.value)
    assert len(str(caught.value)) < 250


def test_the_inputs_that_a_condition_reads_are_known() -> None:
    text = f"!('{B}' == 'true') && parseJson({S})['a'] == int({I}) || true"
    assert reads(parse_condition(text)) == {f"pipelinechannel--{name}-Output" for name in "bsi"}


def test_equal_texts_give_equal_conditions() -> None:
    assert parse_condition(f"{S} == 'a'") == parse_condition(f"{S} == 'a'")
    assert hash(parse_condition("true")) == hash(parse_condition("true"))


@given(st.text(alphabet="ab '\"()=!<>{}\n,$é", max_size=12), st.text(alphabet="ab'\")(", max_size=6))
def test_any_text_that_a_compiler_puts_between_quotes_is_read_as_it_is(text: str, other: str) -> None:
    assert decide(f"{S} == '{text}'", s=text)
    assert not decide(f"!({S} == '{text}')", s=text)
    assert decide(f"!({S} == '{other}.') && {S} == '{text}'", s=text)


# --- compared with a CEL library

_TEXTS = st.text(alphabet="ab1'\"\\ )(&|=ü\n", max_size=5)
_NUMBERS = st.integers(-4, 4) | st.sampled_from([-1.5, 0.5, 1.0, 2.0, 2.5])
VALUES = {"s": "a", "t": "it's", "d": "12", "i": 3, "j": -2, "f": 2.5, "g": 3.0, "b": True, "c": False}
VALUES |= {"n": None, "l": '{"k": [1, 2.5, "x", true], "m": {"o": 3}}'}


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"'{escaped}'"


def _read(names: str) -> st.SearchStrategy[str]:
    return st.sampled_from([*names, "absent"]).map(lambda name: f"inputs.parameter_values['{name}']")


def _parts(*parts: str) -> st.SearchStrategy[str]:
    return st.sampled_from(parts).map(lambda part: f"parseJson(inputs.parameter_values['l']){part}")


_NUMBER_TERMS = st.one_of(
    _read("ijfgn"),
    _read("".join(VALUES)).map(lambda read: f"int({read})"),
    _read("".join(VALUES)).map(lambda read: f"double(int({read}))"),
    _NUMBERS.map(repr),
    _NUMBERS.map(lambda value: f"double({value!r})"),
    _parts('["k"][0]', '["k"][1]', "['m'][\"o\"]", '["x"]', '["k"][9]'),
)
_TEXT_TERMS = _read("stdn") | _TEXTS.map(_quoted) | _parts('["k"][2]', "[0]")
_BOOLEAN_TERMS = _read("bcn") | st.sampled_from(["true", "false"]) | _parts('["k"][3]')
_TERMS = _NUMBER_TERMS | _TEXT_TERMS | _BOOLEAN_TERMS
_SPACE = st.sampled_from(["", " ", "\n "])


def _compared(terms: st.SearchStrategy[str], *signs: str) -> st.SearchStrategy[str]:
    return st.builds(
        lambda left, space, sign, right: f"{left}{space}{sign}{space}{right}",
        terms,
        _SPACE,
        st.sampled_from(signs),
        terms,
    )


_COMPARISONS = st.one_of(
    *(_compared(terms, "==", "!=") for terms in (_NUMBER_TERMS, _TEXT_TERMS, _BOOLEAN_TERMS)),
    _compared(_TERMS, "==", "!=", "<", "<=", ">", ">="),
)
_CONDITIONS = st.recursive(
    _COMPARISONS | _TERMS,
    lambda inner: st.one_of(
        inner.map(lambda text: f"!({text})"),
        st.builds(lambda left, space, right: f"({left}){space}&&{space}({right})", inner, _SPACE, inner),
        st.builds(lambda left, space, right: f"({left}){space}||{space}({right})", inner, _SPACE, inner),
        st.builds(lambda left, right: f"{left} && {right}", _COMPARISONS, _COMPARISONS),
        st.builds(lambda left, right: f"{left} || {right} && {left}", _COMPARISONS, _COMPARISONS),
        st.builds(lambda left, right: f"({left}) != ({right})", _COMPARISONS, _COMPARISONS),
    ),
    max_leaves=4,
)


def _by_library(text: str) -> Any:
    context = cel.Context(variables={"inputs": {"parameter_values": VALUES}})
    context.add_function("parseJson", json.loads)
    return cel.evaluate(text, context)


@settings(max_examples=300)
@given(_CONDITIONS)
def test_random_conditions_are_decided_as_a_cel_library_decides_them(text: str) -> None:
    try:
        expected = _by_library(text)
    except (ValueError, TypeError, RuntimeError, KeyError, IndexError):
        expected = None
    try:
        found: bool | None = evaluate(parse_condition(text), VALUES)
    except ConditionError:
        found = None  # the library gives an error too, or a value that is neither true nor false
    assert found is (expected if isinstance(expected, bool) else None), text


# --- selectors

STRUCT = {"A_a": 1, "B_b": ["2", {"c": 2.5}], "n": None}


@pytest.mark.parametrize(
    ("text", "value", "result"),
    [
        ('parseJson(string_value)["A_a"]', STRUCT, 1),
        ('parseJson(string_value)["A_a"]', json.dumps(STRUCT), 1),
        ("parseJson(string_value)['B_b'][1][\"c\"]", STRUCT, 2.5),
        ("parseJson( string_value ) [ 'B_b' ] [ 0 ]", json.dumps(STRUCT), "2"),
        ("parseJson(string_value).B_b", STRUCT, ["2", {"c": 2.5}]),
        ('parseJson(string_value)["n"]', STRUCT, None),
        ("parseJson(string_value)[0]", "[1.1,1.2,1.3]", 1.1),
        ("parseJson(string_value)[2]", [1, 2, 3], 3),
        ("parseJson(string_value)", '"x"', "x"),
        ("string_value", "Hello,World!", "Hello,World!"),
        ("string_value", {"a": 1}, '{"a": 1}'),
        ("string_value", 2.0, "2"),
        ("string_value", None, ""),
        ("struct_value.B_b", STRUCT, ["2", {"c": 2.5}]),
        ("struct_value['A_a']", STRUCT, 1),
        ("list_value[1]", [1, 2], 2),
        ("number_value", 3, 3),
        ("bool_value", True, True),
    ],
)
def test_a_selector_takes_a_part_of_a_value_and_keeps_its_type(text: str, value: Any, result: Any) -> None:
    found = select(parse_selector(text), value)
    assert found == result
    assert type(found) is type(result)


@pytest.mark.parametrize(
    ("text", "value", "why"),
    [
        ('parseJson(string_value)["x"]', STRUCT, "there is no key 'x'; the keys are: A_a, B_b, n"),
        ('parseJson(string_value)["x"]', [1], r"the LIST \[1\] has no 'x'"),
        ("parseJson(string_value)[3]", [1], "there is no index 3"),
        ("parseJson(string_value)[0]", {"0": 1}, "has no 0"),
        ('parseJson(string_value)["x"]', "invalidjson", "is no JSON"),
        ('parseJson(string_value)["x"]', None, "null has no 'x'"),
        ('parseJson(string_value)["x"]', 5, "the number 5 has no 'x'"),
        ("struct_value", "Hello", "the STRING 'Hello' has no `struct_value`"),
        ("struct_value.c", {"a": 1}, "there is no key 'c'"),
    ],
)
def test_a_selector_that_finds_nothing_says_why(text: str, value: Any, why: str) -> None:
    with pytest.raises(ConditionError, match=why) as caught:
        select(parse_selector(text), value)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "`` is not supported"),
        ("size(string_value)", "`size`"),
        ("parseJson(struct_value)", "`struct_value`"),
        ("parseJson(string_value", r"`\)` is missing"),
        ("parseJson(string_value)[key]", "a quoted name is missing"),
        ("parseJson(string_value)[-1]", "a quoted name is missing"),
        ("parseJson(string_value)[0] + 1", "arithmetic"),
        ("parseJson(string_value)['a'] == 1", "`==`"),
        ("other", "`other`"),
    ],
)
def test_another_selector_is_refused_by_name(text: str, why: str) -> None:
    with pytest.raises(ConditionError, match=why):
        parse_selector(text)
