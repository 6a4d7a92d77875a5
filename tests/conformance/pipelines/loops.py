"""ParallelFor: over raw items, parameters, outputs, JSON texts, dicts and artifacts; limits and failures."""

from typing import Dict, List

from kfp import dsl
from tests.conformance.pipelines.common import (
    add,
    as_json,
    case,
    component,
    echo,
    listing,
    read_text,
    write_text,
)


def _loop(count: int, inside: dict, path: str = "for-loop-1", state: str = "SUCCEEDED") -> dict:
    tasks = {path: state}
    for number in range(count):
        tasks[f"{path}/{number}"] = "SUCCEEDED"
        tasks |= {f"{path}/{number}/{name}": each for name, each in inside.items()}
    return tasks


@case(
    tasks=_loop(3, {"add": "SUCCEEDED"}, "for-loop-2"),
    task_outputs={f"for-loop-2/{n}/add": {"Output": n + 11} for n in range(3)},
    task_inputs={"for-loop-2/2/add": {"a": 3, "b": 10}},
)
@dsl.pipeline(name="loop-over-raw-items")
def loop_raw():
    with dsl.ParallelFor([1, 2, 3]) as item:
        add(a=item, b=10)


@case(
    parameters={"words": ["x", "it's", ""]},
    tasks=_loop(3, {"echo": "SUCCEEDED"}),
    task_outputs={
        "for-loop-1/0/echo": {"Output": "x"},
        "for-loop-1/1/echo": {"Output": "it's"},
        "for-loop-1/2/echo": {"Output": ""},
    },
)
@case(name="loop-over-an-empty-parameter", parameters={"words": []}, tasks={"for-loop-1": "SUCCEEDED"})
@dsl.pipeline(name="loop-over-a-parameter")
def loop_parameter(words: List[str]):
    with dsl.ParallelFor(words) as word:
        echo(text=word)


@component
def numbers(count: int) -> List[int]:
    """Whole numbers."""
    return list(range(count))


@case(
    parameters={"count": 2},
    tasks={"numbers": "SUCCEEDED", **_loop(2, {"add": "SUCCEEDED"})},
    task_outputs={"for-loop-1/0/add": {"Output": 2}, "for-loop-1/1/add": {"Output": 3}},
)
@case(
    name="loop-over-an-empty-output",
    parameters={"count": 0},
    tasks={"numbers": "SUCCEEDED", "for-loop-1": "SUCCEEDED"},
)
@dsl.pipeline(name="loop-over-an-output")
def loop_output(count: int):
    with dsl.ParallelFor(numbers(count=count).output) as item:
        add(a=item, b=count)


def _as_texts(ir: dict) -> None:
    ir["root"]["inputDefinitions"]["parameters"]["words"]["parameterType"] = "STRING"
    ir["components"]["comp-for-loop-1"]["inputDefinitions"]["parameters"]["pipelinechannel--words"][
        "parameterType"
    ] = "STRING"


@case(
    change=_as_texts,
    parameters={"words": '["a", "b"]'},
    tasks=_loop(2, {"echo": "SUCCEEDED"}),
    task_outputs={"for-loop-1/1/echo": {"Output": "b"}},
)
@dsl.pipeline(name="loop-over-a-json-text")
def loop_json(words: List[str]):
    with dsl.ParallelFor(words) as word:
        echo(text=word)


@case(
    tasks={
        **_loop(2, {"echo": "SUCCEEDED", "echo-2": "SUCCEEDED"}, "for-loop-2"),
        **_loop(2, {"add": "SUCCEEDED"}, "for-loop-4"),
    },
    task_outputs={
        "for-loop-2/0/echo": {"Output": "one"},
        "for-loop-2/1/echo-2": {"Output": "2"},
        "for-loop-4/1/add": {"Output": 7},
    },
)
@dsl.pipeline(name="loop-over-dicts")
def loop_dicts():
    with dsl.ParallelFor([{"who": "one", "n": "1"}, {"who": "two", "n": "2"}]) as item:
        echo(text=item.who)
        echo(text=item.n)
    with dsl.ParallelFor([{"n": 1, "m": 2}, {"n": 3, "m": 4}]) as item:
        add(a=item.n, b=item.m)


@component
def people() -> List[Dict[str, str]]:
    """Dicts with keys that need care."""
    return [{"who": "Ann", "it": "a b"}, {"who": "Ben", "it": "{}"}]


@case(
    tasks={"people": "SUCCEEDED", **_loop(2, {"echo": "SUCCEEDED", "echo-2": "SUCCEEDED"})},
    task_outputs={"for-loop-1/0/echo": {"Output": "Ann"}, "for-loop-1/1/echo-2": {"Output": "{}"}},
)
@dsl.pipeline(name="loop-over-an-output-of-dicts")
def loop_output_dicts():
    with dsl.ParallelFor(people().output) as item:
        echo(text=item.who)
        echo(text=item.it)


def _nested_loops() -> dict:
    tasks = {"for-loop-2": "SUCCEEDED"}
    for outer in range(2):
        tasks[f"for-loop-2/{outer}"] = "SUCCEEDED"
        tasks[f"for-loop-2/{outer}/add"] = "SUCCEEDED"
        tasks |= _loop(2, {"add-2": "SUCCEEDED"}, f"for-loop-2/{outer}/for-loop-3")
    return tasks


@case(
    parameters={"more": [10, 20]},
    tasks=_nested_loops(),
    task_outputs={
        "for-loop-2/0/for-loop-3/0/add-2": {"Output": 110},
        "for-loop-2/1/for-loop-3/1/add-2": {"Output": 220},
    },
)
@dsl.pipeline(name="nested-loops")
def nested_loops(more: List[int]):
    with dsl.ParallelFor([100, 200]) as hundreds:
        first = add(a=hundreds, b=0)
        with dsl.ParallelFor(more) as tens:
            add(a=first.output, b=tens)


@component
def alone(folder: str, item: int) -> str:
    """Fails if more than the given number of it run at once. The folder's files are the runs under way."""
    import os
    import time

    mine = os.path.join(folder, f"running-{item}")
    open(mine, "w").close()
    try:
        time.sleep(0.1)
        return str(len([name for name in os.listdir(folder) if name.startswith("running-")]))
    finally:
        os.remove(mine)


@component
def at_most(counts: List[str], limit: int) -> int:
    """The highest count; fails above the limit."""
    highest = max(int(count) for count in counts)
    assert highest <= limit, counts
    return highest


@case(
    parameters={"folder": "{folder}"},
    tasks={"at-most": "SUCCEEDED", **_loop(4, {"alone": "SUCCEEDED"}, "for-loop-2")},
    task_outputs={"at-most": {"Output": 1}},
)
@dsl.pipeline(name="loop-one-at-a-time")
def loop_limited(folder: str):
    with dsl.ParallelFor([1, 2, 3, 4], parallelism=1) as item:
        seen = alone(folder=folder, item=item)
    at_most(counts=dsl.Collected(seen.output), limit=1)


@component
def odd_only(n: int) -> int:
    """Fails for even numbers."""
    assert n % 2, f"{n} is even"
    return n


@case(
    state="FAILED",
    tasks={
        "for-loop-2": "FAILED",
        "for-loop-2/0": "SUCCEEDED",
        "for-loop-2/0/odd-only": "SUCCEEDED",
        "for-loop-2/0/add": "SUCCEEDED",
        "for-loop-2/1": "FAILED",
        "for-loop-2/1/odd-only": "FAILED",
        "for-loop-2/1/add": "SKIPPED",
        "for-loop-2/2": "SUCCEEDED",
        "for-loop-2/2/odd-only": "SUCCEEDED",
        "for-loop-2/2/add": "SUCCEEDED",
        "echo": "SKIPPED",
    },
)
@dsl.pipeline(name="an-iteration-that-fails")
def failing_iteration():
    with dsl.ParallelFor([1, 2, 3]) as item:
        last = add(a=odd_only(n=item).output, b=1)
    echo(text="behind").after(last)


@case(
    parameters={"items": [1, "two"]},
    state="FAILED",
    tasks={
        "for-loop-1": "FAILED",
        "for-loop-1/0": "SUCCEEDED",
        "for-loop-1/0/add": "SUCCEEDED",
        "for-loop-1/1": "FAILED",
    },
    errors={"for-loop-1/1": "two"},
)
@dsl.pipeline(name="an-item-of-the-wrong-type")
def wrong_item(items: List[int]):
    with dsl.ParallelFor(items) as item:
        add(a=item, b=1)


@case(
    tasks={
        "for-loop-2": "SUCCEEDED",
        "for-loop-2/0": "SUCCEEDED",
        "for-loop-2/0/condition-3": "SKIPPED",
        "for-loop-2/0/add": "SUCCEEDED",
        "for-loop-2/1": "SUCCEEDED",
        "for-loop-2/1/condition-3": "SUCCEEDED",
        "for-loop-2/1/condition-3/add-2": "SUCCEEDED",
        "for-loop-2/1/add": "SUCCEEDED",
    },
)
@dsl.pipeline(name="condition-in-a-loop")
def condition_in_loop():
    with dsl.ParallelFor([1, 2]) as item:
        add(a=item, b=0)
        with dsl.If(item == 2):
            add(a=item, b=1)


@case(
    parameters={"go": False},
    tasks={"condition-1": "SKIPPED"},
)
@case(
    name="loop-in-a-condition-true",
    parameters={"go": True},
    tasks={"condition-1": "SUCCEEDED", **_loop(1, {"echo": "SUCCEEDED"}, "condition-1/for-loop-3")},
)
@dsl.pipeline(name="loop-in-a-condition")
def loop_in_condition(go: bool):
    with dsl.If(go == True):
        with dsl.ParallelFor(["a"]) as item:
            echo(text=item)


@component
def kind(value: float) -> str:
    """The value and its type."""
    return f"{value} {type(value).__name__}"


@component
def as_text(value: dict) -> str:
    """JSON of a dict."""
    import json

    return json.dumps(value)


@case(
    tasks={
        **_loop(2, {"kind": "SUCCEEDED"}, "for-loop-2"),
        **_loop(1, {"as-text": "SUCCEEDED"}, "for-loop-4"),
        **_loop(2, {"as-json": "SUCCEEDED"}, "for-loop-5"),
    },
    task_outputs={
        "for-loop-2/0/kind": {"Output": "1.0 float"},
        "for-loop-2/1/kind": {"Output": "2.5 float"},
        "for-loop-4/0/as-text": {"Output": '{"a": 1, "b": [1.5]}'},
        "for-loop-5/1/as-json": {"Output": "[3, 4]"},
    },
)
@dsl.pipeline(name="items-keep-their-types")
def item_types(lists: List[list] = [[1, 2], [3, 4]]):
    with dsl.ParallelFor([1.0, 2.5]) as item:
        kind(value=item)
    with dsl.ParallelFor([{"a": 1, "b": [1.5]}]) as item:
        as_text(value=item)
    with dsl.ParallelFor(lists) as item:
        as_json(value=item)


@dsl.pipeline(name="each")
def each(word: str, suffix: str = "!") -> str:
    return echo(text=f"{word}{suffix}").output


@case(
    parameters={"word": "outer"},
    tasks={
        **_loop(2, {"each": "SUCCEEDED", "each/echo": "SUCCEEDED", "echo": "SUCCEEDED"}, "for-loop-2"),
        "echo-2": "SUCCEEDED",
    },
    task_outputs={
        "for-loop-2/0/each": {"Output": "a!"},
        "for-loop-2/1/each/echo": {"Output": "b!"},
        "for-loop-2/1/echo": {"Output": "b! in outer"},
    },
)
@dsl.pipeline(name="a-nested-pipeline-in-a-loop")
def nested_in_loop(word: str):
    with dsl.ParallelFor(["a", "b"]) as item:
        done = each(word=item)
        last = echo(text=f"{done.output} in {word}")
    echo(text="after all").after(last)


@dsl.pipeline(name="read-each")
def read_each(data: dsl.Input[List[dsl.Dataset]]):
    with dsl.ParallelFor(data) as one:
        read_text(data=one)


@case(
    parameters={"names": ["x", "y"]},
    tasks={
        **_loop(2, {"write-text": "SUCCEEDED"}),
        "read-each": "SUCCEEDED",
        **_loop(2, {"read-text": "SUCCEEDED"}, "read-each/for-loop-1"),
    },
    task_outputs={
        "read-each/for-loop-1/0/read-text": {"Output": "x"},
        "read-each/for-loop-1/1/read-text": {"Output": "y"},
    },
)
@case(
    name="loop-over-no-artifacts",
    parameters={"names": []},
    tasks={"for-loop-1": "SUCCEEDED", "read-each": "SUCCEEDED", "read-each/for-loop-1": "SUCCEEDED"},
)
@dsl.pipeline(name="loop-over-artifacts")
def loop_artifacts(names: List[str]):
    with dsl.ParallelFor(names) as item:
        written = write_text(text=item)
    read_each(data=dsl.Collected(written.outputs["out"]))


@case(
    tasks={
        "listing": "SUCCEEDED",
        **_loop(3, {"add": "SUCCEEDED"}),
        **_loop(3, {"add-2": "SUCCEEDED"}, "for-loop-2"),
    },
)
@dsl.pipeline(name="two-loops-over-one-output")
def two_loops():
    items = listing(count=3)
    with dsl.ParallelFor(items.output) as item:
        first = add(a=item, b=1)
    with dsl.ParallelFor(items.output) as item:
        add(a=item, b=2).after(first)
