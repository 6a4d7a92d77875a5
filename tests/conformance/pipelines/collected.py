"""Collected: what a loop put out, in the order of its items; nested loops give lists of lists."""

from typing import List, NamedTuple

from kfp import dsl
from tests.conformance.pipelines.common import (
    add,
    as_json,
    case,
    component,
    echo,
    join_texts,
    total,
    write_text,
)


def _iterations(count: int, inside: tuple, path: str = "for-loop-1") -> dict:
    tasks = {path: "SUCCEEDED"}
    for number in range(count):
        tasks[f"{path}/{number}"] = "SUCCEEDED"
        tasks |= {f"{path}/{number}/{name}": "SUCCEEDED" for name in inside}
    return tasks


@case(
    parameters={"items": [3, 1, 2]},
    tasks={**_iterations(3, ("add",)), "total": "SUCCEEDED", "as-json": "SUCCEEDED"},
    outputs={"sum": 36, "all": [13, 11, 12]},
    task_outputs={"as-json": {"Output": "[13, 11, 12]"}},
    task_inputs={"total": {"numbers": [13, 11, 12]}},
)
@case(
    name="collected-of-nothing",
    parameters={"items": []},
    tasks={"for-loop-1": "SUCCEEDED", "total": "SUCCEEDED", "as-json": "SUCCEEDED"},
    outputs={"sum": 0, "all": []},
)
@dsl.pipeline(name="collected-of-parameters")
def collected(items: List[int]) -> NamedTuple("Out", [("sum", int), ("all", list)]):
    with dsl.ParallelFor(items) as item:
        more = add(a=item, b=10)
    as_json(value=dsl.Collected(more.output))
    summed = total(numbers=dsl.Collected(more.output))
    return NamedTuple("Out", [("sum", int), ("all", list)])(summed.output, dsl.Collected(more.output))


@component
def sums(rows: List[List[int]]) -> list:
    """The sum of each row; fails where a row is no list."""
    return [sum(row) for row in rows]


def _grid() -> dict:
    tasks = {"for-loop-2": "SUCCEEDED"}
    for outer in range(2):
        tasks[f"for-loop-2/{outer}"] = "SUCCEEDED"
        tasks |= _iterations(3, ("add",), f"for-loop-2/{outer}/for-loop-4")
    return tasks


@case(
    tasks={**_grid(), "sums": "SUCCEEDED"},
    outputs={"Output": [36, 66]},
    task_inputs={"sums": {"rows": [[11, 12, 13], [21, 22, 23]]}},
)
@dsl.pipeline(name="collected-of-nested-loops")
def collected_nested() -> list:
    with dsl.ParallelFor([10, 20]) as outer:
        with dsl.ParallelFor([1, 2, 3]) as inner:
            each = add(a=outer, b=inner)
    return sums(rows=dsl.Collected(each.output)).output


def _inner_collected() -> dict:
    tasks = {"for-loop-2": "SUCCEEDED"}
    for outer in range(2):
        tasks[f"for-loop-2/{outer}"] = "SUCCEEDED"
        tasks[f"for-loop-2/{outer}/total"] = "SUCCEEDED"
        tasks |= _iterations(3, ("add",), f"for-loop-2/{outer}/for-loop-4")
    return tasks


@case(
    tasks={**_inner_collected(), "as-json": "SUCCEEDED"},
    outputs={"Output": "[36, 66]"},
    task_outputs={"for-loop-2/0/total": {"Output": 36}, "for-loop-2/1/total": {"Output": 66}},
)
@dsl.pipeline(name="collected-within-a-loop")
def collected_within() -> str:
    with dsl.ParallelFor([10, 20]) as outer:
        with dsl.ParallelFor([1, 2, 3]) as inner:
            each = add(a=outer, b=inner)
        row = total(numbers=dsl.Collected(each.output))
    return as_json(value=dsl.Collected(row.output)).output


@case(
    tasks={**_iterations(3, ("write-text",), "for-loop-2"), "join-texts": "SUCCEEDED"},
    outputs={"Output": "c,a,b"},
)
@dsl.pipeline(name="collected-of-artifacts")
def collected_artifacts() -> str:
    with dsl.ParallelFor(["c", "a", "b"]) as text:
        written = write_text(text=text)
    return join_texts(data=dsl.Collected(written.outputs["out"])).output


@case(
    parameters={"texts": []},
    tasks={"for-loop-1": "SUCCEEDED", "join-texts": "SUCCEEDED"},
    outputs={"Output": ""},
)
@dsl.pipeline(name="collected-of-no-artifacts")
def collected_no_artifacts(texts: List[str]) -> str:
    with dsl.ParallelFor(texts) as text:
        written = write_text(text=text)
    return join_texts(data=dsl.Collected(written.outputs["out"])).output


def _files() -> dict:
    tasks = {"for-loop-2": "SUCCEEDED"}
    for outer in range(2):
        tasks[f"for-loop-2/{outer}"] = "SUCCEEDED"
        tasks |= _iterations(2, ("both", "write-text"), f"for-loop-2/{outer}/for-loop-3")
    return tasks


@component
def both(first: str, second: str) -> str:
    """Both texts."""
    return first + second


@dsl.pipeline(name="make-files")
def make_files(words: List[str]) -> List[dsl.Dataset]:
    with dsl.ParallelFor(["1", "2"]) as number:
        with dsl.ParallelFor(words) as word:
            written = write_text(text=both(first=word, second=number).output)
    return dsl.Collected(written.outputs["out"])


@case(
    tasks={
        "make-files": "SUCCEEDED",
        **{f"make-files/{path}": state for path, state in _files().items()},
        "join-texts": "SUCCEEDED",
    },
    outputs={"text": "a1,b1,a2,b2"},
    artifacts={"files": [{"text": "a1"}, {"text": "b1"}, {"text": "a2"}, {"text": "b2"}]},
)
@dsl.pipeline(name="collected-artifacts-are-one-list")
def flattened() -> NamedTuple("Out", [("text", str), ("files", List[dsl.Dataset])]):
    made = make_files(words=["a", "b"])
    text = join_texts(data=made.output)
    return NamedTuple("Out", [("text", str), ("files", List[dsl.Dataset])])(text.output, made.output)


@dsl.pipeline(name="odd-numbers")
def odd_numbers(n: int) -> int:
    return add(a=n, b=n).output


@component
def is_odd(n: int) -> bool:
    """Whether it is odd."""
    return n % 2 == 1


@dsl.pipeline(name="pick")
def pick(n: int) -> int:
    odd = is_odd(n=n)
    with dsl.If(odd.output == True):
        double = add(a=n, b=n)
    with dsl.Else():
        hundred = add(a=n, b=100)
    return dsl.OneOf(double.output, hundred.output)


def _odd() -> dict:
    tasks = {"for-loop-2": "SUCCEEDED"}
    for number in range(3):
        path = f"for-loop-2/{number}"
        tasks |= dict.fromkeys((path, f"{path}/pick", f"{path}/pick/is-odd"), "SUCCEEDED")
        tasks[f"{path}/pick/condition-branches-1"] = "SUCCEEDED"
        taken = 2 if number % 2 == 0 else 3
        for branch in (2, 3):
            inside = f"{path}/pick/condition-branches-1/condition-{branch}"
            tasks[inside] = "SUCCEEDED" if branch == taken else "SKIPPED"
            if branch == taken:
                tasks[f"{inside}/{'add' if branch == 2 else 'add-2'}"] = "SUCCEEDED"
    return tasks


@case(
    tasks={**_odd(), "as-json": "SUCCEEDED"},
    outputs={"Output": "[2, 102, 6]"},
)
@dsl.pipeline(name="collected-of-oneof")
def collected_oneof() -> str:
    with dsl.ParallelFor([1, 2, 3]) as n:
        chosen = pick(n=n)
    return as_json(value=dsl.Collected(chosen.output)).output


def _some() -> dict:
    tasks = {"for-loop-2": "SUCCEEDED"}
    for number in range(4):
        path = f"for-loop-2/{number}"
        tasks[path] = "SUCCEEDED"
        tasks[f"{path}/condition-3"] = "SUCCEEDED" if number >= 2 else "SKIPPED"
        if number >= 2:
            tasks |= {f"{path}/condition-3/add": "SUCCEEDED", f"{path}/condition-3/write-text": "SUCCEEDED"}
    return tasks


@case(
    tasks={**_some(), "as-json": "SUCCEEDED", "join-texts": "SUCCEEDED"},
    outputs={"numbers": "[33, 34]", "texts": "n3,n4"},
)
@dsl.pipeline(name="collected-leaves-out-what-was-skipped")
def collected_skipped() -> NamedTuple("Out", [("numbers", str), ("texts", str)]):
    with dsl.ParallelFor([1, 2, 3, 4]) as n:
        with dsl.If(n > 2):
            more = add(a=n, b=30)
            file = write_text(text=f"n{n}")
    numbers = as_json(value=dsl.Collected(more.output))
    texts = join_texts(data=dsl.Collected(file.outputs["out"]))
    return NamedTuple("Out", [("numbers", str), ("texts", str)])(numbers.output, texts.output)


@dsl.pipeline(name="doubled")
def doubled(items: List[int]) -> list:
    with dsl.ParallelFor(items) as item:
        twice = odd_numbers(n=item)
    return dsl.Collected(twice.output)


@case(
    tasks={
        "doubled": "SUCCEEDED",
        **_iterations(3, ("odd-numbers", "odd-numbers/add"), "doubled/for-loop-1"),
        "total": "SUCCEEDED",
        "echo": "SUCCEEDED",
    },
    outputs={"Output": 12},
    task_outputs={"doubled": {"Output": [2, 4, 6]}, "echo": {"Output": "all: [2, 4, 6]"}},
)
@dsl.pipeline(name="collected-from-a-nested-pipeline")
def collected_from_nested() -> int:
    done = doubled(items=[1, 2, 3])
    echo(text=f"all: {done.output}")
    return total(numbers=done.output).output
