"""Parameters: constants of each type, f-strings, numbers that stay what they are, literals, type errors."""

from typing import NamedTuple, Optional

from kfp import dsl
from tests.conformance.pipelines.common import add, as_json, case, component, echo


@component
def kinds(s: str, i: int, f: float, b: bool, ls: list, d: dict) -> str:
    """The values and their Python types, as JSON."""
    import json

    return json.dumps([[v, type(v).__name__] for v in (s, i, f, b, ls, d)])


KINDS = (
    '[["text", "str"], [3, "int"], [2.0, "float"], [true, "bool"], [[1, "a", 2.5, [3]], "list"], '
    '[{"k": {"n": 1}}, "dict"]]'
)


@case(tasks={"kinds": "SUCCEEDED"}, outputs={"Output": KINDS})
@dsl.pipeline(name="constants")
def constants() -> str:
    return kinds(s="text", i=3, f=2.0, b=True, ls=[1, "a", 2.5, [3]], d={"k": {"n": 1}}).output


@case(
    parameters={
        "s": "text",
        "i": 3.0,
        "f": 2,
        "b": True,
        "ls": [1.0, "a", None, 2.5, [3.0]],
        "d": {"k": {"n": 1.0}},
    },
    tasks={"kinds": "SUCCEEDED"},
    outputs={"Output": KINDS.replace('"a", 2.5', '"a", null, 2.5')},
)
@case(
    name="parameters-from-the-cli",
    parameters={"s": "text", "i": 3, "f": 2.0, "b": True, "ls": [1, "a", 2.5, [3]], "d": {"k": {"n": 1}}},
    tasks={"kinds": "SUCCEEDED"},
    outputs={"Output": KINDS},
    task_inputs={"kinds": {"s": "text", "i": 3, "f": 2.0, "b": True}},
)
@dsl.pipeline(name="parameters-of-each-type")
def parameters(s: str, i: int, f: float, b: bool, ls: list, d: dict) -> str:
    return kinds(s=s, i=i, f=f, b=b, ls=ls, d=d).output


@case(
    tasks={"kinds": "SUCCEEDED"},
    outputs={
        "Output": '[["d", "str"], [4, "int"], [0.5, "float"], [false, "bool"], [[1], "list"], '
        '[{"a": 1}, "dict"]]'
    },
)
@dsl.pipeline(name="root-defaults")
def root_defaults(
    s: str = "d", i: int = 4, f: float = 0.5, b: bool = False, ls: list = [1], d: dict = {"a": 1}
) -> str:
    return kinds(s=s, i=i, f=f, b=b, ls=ls, d=d).output


@component
def optional(text: Optional[str] = None, n: int = 5, item: Optional[list] = None) -> str:
    """What was given, or the function's own defaults."""
    import json

    return json.dumps([text, n, item])


@case(
    tasks={"optional": "SUCCEEDED", "optional-2": "SUCCEEDED", "optional-3": "SUCCEEDED"},
    outputs={"none": "[null, 5, null]", "some": '["x", 5, [2]]', "root": "[null, 5, null]"},
)
@dsl.pipeline(name="optional-inputs")
def optional_inputs(
    text: Optional[str] = None,
) -> NamedTuple("Out", [("none", str), ("some", str), ("root", str)]):
    none, some, root = optional(), optional(text="x", item=[2]), optional(text=text)
    return NamedTuple("Out", [("none", str), ("some", str), ("root", str)])(
        none.output, some.output, root.output
    )


@component
def numbers() -> NamedTuple("Out", [("n", int), ("x", float), ("ok", bool), ("items", list), ("d", dict)]):
    """One output of each kind."""
    return (3, 1.5, True, [1, 2], {"a": 1})


@case(
    parameters={"who": "you"},
    tasks={"numbers": "SUCCEEDED", "echo": "SUCCEEDED", "echo-2": "SUCCEEDED"},
    outputs={
        "Output": 'n=3 x=1.5 ok=true items=[1, 2] d={"a": 1} to you',
    },
    task_outputs={
        "numbers": {"n": 3, "x": 1.5, "ok": True, "items": [1, 2], "d": {"a": 1}},
        "echo": {"Output": "hello you"},
    },
)
@dsl.pipeline(name="f-strings")
def f_strings(who: str) -> str:
    echo(text=f"hello {who}")
    n = numbers().outputs
    text = f"n={n['n']} x={n['x']} ok={n['ok']} items={n['items']} d={n['d']} to {who}"
    return echo(text=text).output


ODD = 'it\'s "q"\n\ttab \\ back $HOME `id` {{$.no}} {x} %s é 漢 \U0001f600'


@case(parameters={"text": ODD}, tasks={"echo": "SUCCEEDED"}, outputs={"Output": ODD}, local=True)
@dsl.pipeline(name="odd-texts")
def odd_texts(text: str) -> str:
    return echo(text=text).output


@component
def big() -> NamedTuple("Out", [("n", int), ("whole", float), ("tiny", float), ("items", list)]):
    """Numbers that are easily spoilt."""
    return (2**53, 4.0, 1e-300, [1, 1.5, 2**53])


@component
def exactly(n: int, whole: float, tiny: float, items: list) -> str:
    """Fails unless each is what `big` gave."""
    assert (n, type(n)) == (2**53, int), n
    assert (whole, type(whole)) == (4.0, float), whole
    assert tiny == 1e-300, tiny
    assert items == [1, 1.5, 2**53], items
    assert [type(item) for item in items] == [int, float, int], items
    return "exactly"


@case(
    tasks={"big": "SUCCEEDED", "exactly": "SUCCEEDED"},
    outputs={"n": 2**53, "whole": 4.0, "items": [1, 1.5, 2**53]},
)
@dsl.pipeline(name="numbers-stay")
def numbers_stay() -> NamedTuple("Out", [("n", int), ("whole", float), ("items", list)]):
    made = big().outputs
    exactly(n=made["n"], whole=made["whole"], tiny=made["tiny"], items=made["items"])
    return NamedTuple("Out", [("n", int), ("whole", float), ("items", list)])(
        made["n"], made["whole"], made["items"]
    )


@component
def choose(color: str, size: int = 1) -> str:
    """One of a few."""
    return f"{color}-{size}"


def _literals(ir: dict) -> None:
    """What SDKs after 2.17 write for `typing.Literal`."""
    few = {"color": {"literals": ["red", "green"]}, "size": {"literals": [1.0, 2.0]}}
    for part in (ir["root"], ir["components"]["comp-choose"]):
        for name, spec in part.get("inputDefinitions", {}).get("parameters", {}).items():
            spec.update(few[name])


@case(
    change=_literals,
    parameters={"color": "green"},
    tasks={"choose": "SUCCEEDED"},
    outputs={"Output": "green-2"},
)
@case(name="literal-wrong-parameter", change=_literals, parameters={"color": "blue"}, refused="blue")
@dsl.pipeline(name="literals")
def literals(color: str) -> str:
    return choose(color=color, size=2).output


@component
def paint() -> str:
    """A colour that nobody asked for."""
    return "blue"


@case(
    change=_literals,
    state="FAILED",
    tasks={"paint": "SUCCEEDED", "choose": "FAILED"},
    errors={"choose": "blue"},
)
@dsl.pipeline(name="literal-wrong-output")
def literal_wrong_output():
    choose(color=paint().output)


@case(
    name="type-error-at-runtime",
    change=lambda ir: ir["components"]["comp-add"]["inputDefinitions"]["parameters"]["a"].update(
        parameterType="BOOLEAN"
    ),
    state="FAILED",
    tasks={"add": "FAILED"},
    errors={"add": "BOOLEAN"},
    parameters={"n": 3},
)
@dsl.pipeline(name="add-to-one")
def add_to_one(n: int) -> int:
    return add(a=n, b=1).output


@case(name="parameter-of-wrong-type", parameters={"n": "three"}, refused="n")
@case(name="parameter-missing", parameters={}, refused="n")
@case(name="parameter-unknown", parameters={"n": 3, "m": 4}, refused="m")
@case(name="parameter-with-a-fraction", parameters={"n": 3.5}, refused="n")
@dsl.pipeline(name="add-to-two")
def add_to_two(n: int) -> int:
    return add(a=n, b=2).output


@component
def repr_of(value: list) -> str:
    """How the value came."""
    return repr(value)


@case(
    change=lambda ir: ir["components"]["comp-repr-of"]["inputDefinitions"]["parameters"]["value"].update(
        parameterType="STRING"
    ),
    parameters={"items": [1, {"a": "b"}]},
    tasks={"repr-of": "SUCCEEDED"},
    outputs={"Output": {"$json_in": [1, {"a": "b"}]}},
)
@dsl.pipeline(name="a-string-takes-anything")
def string_takes_anything(items: list) -> str:
    return repr_of(value=items).output


@component
def says_nothing() -> NamedTuple("Out", [("a", str), ("b", str)]):
    """Writes its outputs by itself, and forgets one."""
    import json
    import sys

    asked = json.loads(sys.argv[sys.argv.index("--executor_input") + 1])
    with open(asked["outputs"]["outputFile"], "w") as file:
        json.dump({"parameterValues": {"a": "said"}}, file)
    sys.exit(0)


@case(state="FAILED", tasks={"says-nothing": "FAILED"}, errors={"says-nothing": "b"})
@dsl.pipeline(name="a-declared-output-is-missing")
def missing_output():
    says_nothing()


@component
def long_list(count: int) -> list:
    """Many numbers."""
    return list(range(count))


@case(tasks={"long-list": "SUCCEEDED", "as-json": "SUCCEEDED"}, parameters={"count": 12_000})
@dsl.pipeline(name="a-long-list")
def a_long_list(count: int):
    as_json(value=long_list(count=count).output)
