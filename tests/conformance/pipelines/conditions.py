"""If, Elif, Else and OneOf: what runs, what is skipped, and which branch's output is taken."""

from typing import NamedTuple

from kfp import dsl
from tests.conformance.pipelines.common import add, case, component, echo, fail, read_text, write_text


@case(
    parameters={"x": "a"},
    tasks={
        "echo": "SUCCEEDED",
        "condition-1": "SUCCEEDED",
        "condition-1/echo-2": "SUCCEEDED",
        "condition-2": "SKIPPED",
    },
)
@case(
    name="if-false",
    parameters={"x": "b"},
    tasks={
        "echo": "SUCCEEDED",
        "condition-1": "SKIPPED",
        "condition-2": "SUCCEEDED",
        "condition-2/echo-3": "SUCCEEDED",
    },
)
@dsl.pipeline(name="if-true")
def if_true(x: str):
    said = echo(text=x)
    with dsl.If(said.output == "a"):
        echo(text="yes")
    with dsl.If(x == "b"):
        echo(text="also")


def _branch(taken: int, branches: tuple = (2, 3, 4)) -> dict:
    tasks = {"condition-branches-1": "SUCCEEDED"}
    for number in branches:
        path = f"condition-branches-1/condition-{number}"
        tasks[path] = "SUCCEEDED" if number == taken else "SKIPPED"
        if number == taken:
            tasks[f"{path}/{('echo', 'echo-2', 'echo-3')[number - 2]}"] = "SUCCEEDED"
    return tasks


@case(name="if-elif-else-first", parameters={"n": 1}, tasks=_branch(2), outputs={"Output": "one"})
@case(name="if-elif-else-second", parameters={"n": 2}, tasks=_branch(3), outputs={"Output": "two"})
@case(parameters={"n": 3}, tasks=_branch(4), outputs={"Output": "many"})
@dsl.pipeline(name="if-elif-else-last")
def if_elif_else(n: int) -> str:
    with dsl.If(n == 1):
        one = echo(text="one")
    with dsl.Elif(n == 2):
        two = echo(text="two")
    with dsl.Else():
        many = echo(text="many")
    return dsl.OneOf(one.output, two.output, many.output)


HOLDS = (2, 3, 5, 6, 8, 9, 11, 13, 14)
"""Which of the conditions of `operators` are true for n=3, x=2.5, ok=True, text='b'."""


@case(
    parameters={"n": 3, "x": 2.5, "ok": True, "text": "b", "whole": 3.0},
    tasks={f"condition-{i}": "SUCCEEDED" if i in HOLDS else "SKIPPED" for i in range(1, 15)}
    | {f"condition-{i}/echo-{i}": "SUCCEEDED" for i in HOLDS},
)
@dsl.pipeline(name="operators")
def operators(n: int, x: float, ok: bool, text: str, whole: float):
    with dsl.If(n == 4):
        echo(text="1")
    with dsl.If(n != 4):
        echo(text="2")
    with dsl.If(n < 4):
        echo(text="3")
    with dsl.If(n > 3):
        echo(text="4")
    with dsl.If(n >= 3):
        echo(text="5")
    with dsl.If(n <= 3):
        echo(text="6")
    with dsl.If(x > 3):
        echo(text="7")
    with dsl.If(x == 2.5):
        echo(text="8")
    with dsl.If(ok == True):
        echo(text="9")
    with dsl.If(ok == False):
        echo(text="10")
    with dsl.If(text > "a"):
        echo(text="11")
    with dsl.If(text == "c"):
        echo(text="12")
    with dsl.If(n > x):
        echo(text="13")
    with dsl.If(whole == 3):
        echo(text="14")


@case(
    parameters={"text": 'it\'s "so" && true'},
    tasks={"condition-1": "SUCCEEDED", "condition-1/echo": "SUCCEEDED", "condition-2": "SKIPPED"},
)
@dsl.pipeline(name="condition-on-a-quoted-text")
def quoted(text: str):
    with dsl.If(text == 'it\'s "so" && true'):
        echo(text="same")
    with dsl.If(text == "it's"):
        echo(text="other")


@case(
    parameters={"a": 1, "b": 2},
    tasks={
        "condition-1": "SUCCEEDED",
        "condition-1/echo": "SUCCEEDED",
        "condition-1/condition-2": "SKIPPED",
        "condition-1/condition-3": "SUCCEEDED",
        "condition-1/condition-3/condition-branches-4": "SUCCEEDED",
        "condition-1/condition-3/condition-branches-4/condition-5": "SKIPPED",
        "condition-1/condition-3/condition-branches-4/condition-6": "SUCCEEDED",
        "condition-1/condition-3/condition-branches-4/condition-6/echo-4": "SUCCEEDED",
        "condition-7": "SKIPPED",
    },
)
@dsl.pipeline(name="nested-conditions")
def nested_conditions(a: int, b: int):
    with dsl.If(a == 1):
        said = echo(text="in")
        with dsl.If(b == 1):
            echo(text="no")
        with dsl.If(b == 2):
            with dsl.If(said.output == "out"):
                echo(text="no")
            with dsl.Else():
                echo(text="here")
    with dsl.If(a == 2):
        with dsl.If(b == 2):
            echo(text="no")


def _after_condition(ir: dict) -> None:
    tasks = ir["root"]["dag"]["tasks"]
    tasks["echo"]["dependentTasks"] = ["condition-1"]


@case(
    parameters={"n": 1},
    change=_after_condition,
    tasks={"condition-1": "SKIPPED", "echo": "SKIPPED", "echo-2": "SKIPPED", "echo-3": "SUCCEEDED"},
)
@dsl.pipeline(name="what-follows-a-skipped-condition-is-skipped")
def follows_a_skipped(n: int):
    with dsl.If(n == 2):
        add(a=n, b=1)
    behind = echo(text="behind")
    echo(text=behind.output)
    echo(text="free")


def _condition_on_a_task(ir: dict) -> None:
    task = ir["root"]["dag"]["tasks"]["echo-2"]
    task["triggerPolicy"] = {"condition": "inputs.parameter_values['text'] == 'go'"}


@case(
    parameters={"text": "stop"},
    change=_condition_on_a_task,
    tasks={"echo": "SUCCEEDED", "echo-2": "SKIPPED", "echo-3": "SKIPPED"},
)
@case(
    name="condition-of-a-task-true",
    parameters={"text": "go"},
    change=_condition_on_a_task,
    tasks={"echo": "SUCCEEDED", "echo-2": "SUCCEEDED", "echo-3": "SUCCEEDED"},
)
@dsl.pipeline(name="condition-of-a-task")
def condition_of_a_task(text: str):
    first = echo(text=text)
    second = echo(text=first.output)
    echo(text=second.output)


def _broken(condition: str):
    def change(ir: dict) -> None:
        ir["root"]["dag"]["tasks"]["condition-1"]["triggerPolicy"]["condition"] = condition

    return change


NAME = "inputs.parameter_values['pipelinechannel--text']"
NOT_EVALUATED = {"state": "FAILED", "tasks": {"condition-1": "FAILED", "echo-2": "SUCCEEDED"}}


@case(
    name="condition-on-a-text-as-a-number",
    change=_broken(f"int({NAME}) == 1"),
    parameters={"text": "one"},
    errors={"condition-1": "int"},
    **NOT_EVALUATED,
)
@case(
    name="condition-compares-unlike-things",
    change=_broken(f"{NAME} == true"),
    parameters={"text": "true"},
    tasks={"condition-1": "SKIPPED", "echo-2": "SUCCEEDED"},
)
@case(
    name="condition-that-is-none",
    change=_broken(NAME),
    parameters={"text": "true"},
    errors={"condition-1": "true"},
    **NOT_EVALUATED,
)
@case(
    name="condition-in-another-language",
    change=_broken(f"{NAME}.startsWith('o') || has(x)"),
    parameters={"text": "one"},
    errors={"condition-1": "startsWith"},
    **NOT_EVALUATED,
)
@case(
    parameters={"text": "one"},
    tasks={"condition-1": "SUCCEEDED", "condition-1/echo": "SUCCEEDED", "echo-2": "SUCCEEDED"},
)
@dsl.pipeline(name="condition-as-it-should-be")
def condition_to_break(text: str):
    with dsl.If(text == "one"):
        echo(text="inside")
    echo(text="outside")


@component
def count(text: str) -> int:
    """Its length."""
    return len(text)


@case(
    parameters={"text": "four"},
    tasks={
        "condition-branches-1": "SUCCEEDED",
        "condition-branches-1/condition-2": "SKIPPED",
        "condition-branches-1/condition-3": "SUCCEEDED",
        "condition-branches-1/condition-3/count-2": "SUCCEEDED",
        "add": "SUCCEEDED",
    },
    outputs={"Output": 5},
    task_outputs={"condition-branches-1": {}, "add": {"Output": 5}},
)
@dsl.pipeline(name="oneof-of-a-parameter")
def oneof_parameter(text: str) -> int:
    with dsl.If(text == ""):
        none = count(text="")
    with dsl.Else():
        some = count(text=text)
    return add(a=dsl.OneOf(none.output, some.output), b=1).output


@component
def metric(out: dsl.Output[dsl.Dataset]):
    """Another component that puts out a dataset, under the same key."""
    with open(out.path, "w") as file:
        file.write("from the other")


@dsl.pipeline(name="choose-file")
def choose_file(n: int) -> dsl.Dataset:
    with dsl.If(n == 1):
        a = write_text(text="from the first")
    with dsl.Elif(n == 2):
        b = metric()
    with dsl.Else():
        c = write_text(text="from the last")
    chosen = dsl.OneOf(a.outputs["out"], b.outputs["out"], c.outputs["out"])
    read_text(data=chosen)
    return chosen


def _chosen(number: int, task: str) -> dict:
    inside = {"choose-file/condition-branches-1": "SUCCEEDED", "choose-file/read-text": "SUCCEEDED"}
    for one in (2, 3, 4):
        path = f"choose-file/condition-branches-1/condition-{one}"
        inside[path] = "SUCCEEDED" if one == number else "SKIPPED"
        if one == number:
            inside[f"{path}/{task}"] = "SUCCEEDED"
    return {"choose-file": "SUCCEEDED", "read-text": "SUCCEEDED", **inside}


@case(
    name="oneof-of-an-artifact-first",
    parameters={"n": 1},
    tasks=_chosen(2, "write-text"),
    outputs={"text": "from the first"},
    artifacts={"file": [{"text": "from the first", "metadata": {"length": 14}}]},
)
@case(
    parameters={"n": 2},
    tasks=_chosen(3, "metric"),
    outputs={"text": "from the other"},
    artifacts={"file": [{"type": "system.Dataset", "text": "from the other"}]},
)
@dsl.pipeline(name="oneof-of-an-artifact")
def oneof_artifact(n: int) -> NamedTuple("Out", [("text", str), ("file", dsl.Dataset)]):
    chosen = choose_file(n=n)
    text = read_text(data=chosen.output)
    return NamedTuple("Out", [("text", str), ("file", dsl.Dataset)])(text.output, chosen.output)


@case(
    state="FAILED",
    parameters={"n": 1},
    tasks={
        "condition-branches-1": "FAILED",
        "condition-branches-1/condition-2": "FAILED",
        "condition-branches-1/condition-2/fail": "FAILED",
        "condition-branches-1/condition-3": "SKIPPED",
        "echo-2": "SKIPPED",
    },
)
@dsl.pipeline(name="a-branch-that-fails")
def failing_branch(n: int):
    with dsl.If(n == 1):
        bad = fail()
    with dsl.Else():
        good = echo(text="good")
    echo(text=dsl.OneOf(bad.output, good.output))
