"""The graph: tasks, order, nested pipelines and what goes into and out of them, components compiled alone."""

from typing import NamedTuple, Optional

from kfp import dsl
from tests.conformance.pipelines.common import add, case, component, echo, fail, read_text, write_text


@case(
    tasks={"add": "SUCCEEDED", "add-2": "SUCCEEDED"},
    parameters={"x": 1},
    outputs={"Output": 111},
    task_outputs={"add": {"Output": 11}},
    task_inputs={"add-2": {"a": 11, "b": 100}},
)
@dsl.pipeline(name="two-steps", description="A component used twice, in a row.")
def two_steps(x: int) -> int:
    first = add(a=x, b=10)
    return add(a=first.output, b=100).output


@component
def leave(folder: str, name: str, needs: list) -> str:
    """Leave a file; fail unless the files of those named are there already."""
    import os
    import time

    missing = [other for other in needs if not os.path.exists(os.path.join(folder, other))]
    assert not missing, f"{name} ran before {missing}"
    time.sleep(0.05)
    open(os.path.join(folder, name), "w").close()
    return name


@case(
    parameters={"folder": "{folder}"},
    tasks={"leave": "SUCCEEDED", "leave-2": "SUCCEEDED", "leave-3": "SUCCEEDED", "leave-4": "SUCCEEDED"},
)
@dsl.pipeline(name="ordered-by-after")
def ordered_by_after(folder: str):
    a = leave(folder=folder, name="a", needs=[])
    b = leave(folder=folder, name="b", needs=["a"]).after(a)
    c = leave(folder=folder, name="c", needs=["a"]).after(a)
    leave(folder=folder, name="d", needs=["a", "b", "c"]).after(b, c)


def _without_dependent_tasks(ir: dict) -> None:
    for task in ir["root"]["dag"]["tasks"].values():
        task.pop("dependentTasks", None)


@case(
    change=_without_dependent_tasks,
    tasks={"write-text": "SUCCEEDED", "read-text": "SUCCEEDED", "echo": "SUCCEEDED"},
    outputs={"Output": "first"},
)
@dsl.pipeline(name="edges-from-inputs")
def edges_from_inputs() -> str:
    written = write_text(text="first")
    return echo(text=read_text(data=written.outputs["out"]).output).output


@dsl.pipeline(name="innermost")
def innermost(x: int, data: dsl.Input[dsl.Dataset]) -> NamedTuple("Out", [("n", int), ("file", dsl.Dataset)]):
    n = add(a=x, b=1)
    text = read_text(data=data)
    file = write_text(text=text.output)
    return NamedTuple("Out", [("n", int), ("file", dsl.Dataset)])(n.output, file.outputs["out"])


@dsl.pipeline(name="middle")
def middle(x: int, data: dsl.Input[dsl.Dataset]) -> NamedTuple("Out", [("n", int), ("file", dsl.Dataset)]):
    inner = innermost(x=x, data=data)
    more = add(a=inner.outputs["n"], b=10)
    return NamedTuple("Out", [("n", int), ("file", dsl.Dataset)])(more.output, inner.outputs["file"])


@case(
    parameters={"x": 5},
    tasks={
        "write-text": "SUCCEEDED",
        "middle": "SUCCEEDED",
        "middle/innermost": "SUCCEEDED",
        "middle/innermost/add": "SUCCEEDED",
        "middle/innermost/read-text": "SUCCEEDED",
        "middle/innermost/write-text": "SUCCEEDED",
        "middle/add": "SUCCEEDED",
        "read-text": "SUCCEEDED",
    },
    outputs={"n": 16, "text": "carried"},
    artifacts={"file": [{"type": "system.Dataset", "text": "carried", "metadata": {"length": 7}}]},
    task_outputs={"middle": {"n": 16}, "middle/innermost": {"n": 6}},
    task_artifacts={"middle": {"file": [{"text": "carried"}]}},
)
@dsl.pipeline(name="nested")
def nested(x: int) -> NamedTuple("Out", [("n", int), ("text", str), ("file", dsl.Dataset)]):
    written = write_text(text="carried")
    done = middle(x=x, data=written.outputs["out"])
    text = read_text(data=done.outputs["file"])
    return NamedTuple("Out", [("n", int), ("text", str), ("file", dsl.Dataset)])(
        done.outputs["n"], text.output, done.outputs["file"]
    )


@component
def tell(
    text: Optional[str] = None, number: int = 7, flag: bool = False, items: Optional[list] = None
) -> str:
    """What was given, as JSON."""
    import json

    return json.dumps([text, number, flag, items])


@dsl.pipeline(name="inner-defaults")
def inner_defaults(text: Optional[str] = None, number: int = 3, items: Optional[list] = None) -> str:
    return tell(text=text, number=number, items=items).output


@dsl.pipeline(name="with-default")
def with_default(more: int, number: int = 3) -> int:
    return add(a=number, b=more).output


@case(
    tasks={
        "inner-defaults": "SUCCEEDED",
        "inner-defaults/tell": "SUCCEEDED",
        "inner-defaults-2": "SUCCEEDED",
        "inner-defaults-2/tell": "SUCCEEDED",
        "inner-defaults-3": "SUCCEEDED",
        "inner-defaults-3/tell": "SUCCEEDED",
    },
    outputs={
        "omitted": "[null, 3, false, null]",
        "given": '["here", 5, false, [1]]',
        "passed": "[null, 3, false, null]",
    },
)
@dsl.pipeline(name="nested-defaults")
def nested_defaults(
    text: Optional[str] = None,
) -> NamedTuple("Out", [("omitted", str), ("given", str), ("passed", str)]):
    omitted = inner_defaults()
    given = inner_defaults(text="here", number=5, items=[1])
    passed = inner_defaults(text=text)
    return NamedTuple("Out", [("omitted", str), ("given", str), ("passed", str)])(
        omitted.output, given.output, passed.output
    )


def _not_optional(ir: dict) -> None:
    """What older compilers wrote: a default, and not that it may be left out."""
    for part in (ir["root"], *ir["components"].values()):
        for spec in part.get("inputDefinitions", {}).get("parameters", {}).values():
            if "defaultValue" in spec:
                spec.pop("isOptional")


@case(
    change=_not_optional,
    tasks={"with-default": "SUCCEEDED", "with-default/add": "SUCCEEDED"},
    outputs={"Output": 103},
)
@dsl.pipeline(name="defaults-of-what-is-not-optional")
def not_optional(more: int = 100) -> int:
    return with_default(more=more).output


@dsl.pipeline(name="needs-text")
def needs_text(text: Optional[str] = None) -> str:
    return echo(text=text).output


@case(
    state="FAILED",
    tasks={"needs-text": "FAILED", "needs-text/echo": "FAILED", "echo": "SKIPPED"},
    errors={"needs-text/echo": "text"},
)
@dsl.pipeline(name="nested-null-refused")
def nested_null_refused():
    echo(text=needs_text().output)


case(
    parameters={"a": 20, "b": 22},
    tasks={"add": "SUCCEEDED"},
    outputs={"Output": 42},
)(add)


@dsl.pipeline(name="inner")
def inner():
    echo(text="b")


@case(
    tasks={"echo": "SUCCEEDED", "inner": "SUCCEEDED", "inner/echo": "SUCCEEDED"},
    display={"echo": "Say it", "inner": "A part", "inner/echo": "echo"},
)
@dsl.pipeline(name="display-names", display_name="Names to read")
def display_names():
    echo(text="a").set_display_name("Say it")
    inner().set_display_name("A part")


@case(
    state="FAILED",
    tasks={"fail": "FAILED", "echo": "SKIPPED", "echo-2": "SKIPPED", "echo-3": "SUCCEEDED"},
    errors={"fail": "exit|1", "": "fail"},
    logs={"fail": "RuntimeError: broken on purpose"},
)
@dsl.pipeline(name="a-failure-skips-what-needs-it")
def failure():
    failed = fail(message="broken on purpose")
    echo(text=echo(text=failed.output).output)
    echo(text="on its own")


@dsl.pipeline(name="fails")
def fails() -> str:
    return fail().output


@dsl.pipeline(name="outer")
def outer() -> str:
    return fails().output


@case(
    state="FAILED",
    tasks={"outer": "FAILED", "outer/fails": "FAILED", "outer/fails/fail": "FAILED", "echo": "SKIPPED"},
)
@dsl.pipeline(name="a-failure-fails-what-it-is-in")
def failure_in_nested():
    echo(text=outer().output)
