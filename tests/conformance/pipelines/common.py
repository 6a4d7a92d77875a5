"""What the pipelines here share: the decorator that says what a run must come to, and small components.

Read by the interpreter that has the `kfp` SDK, never by tuneline's own. A case is plain JSON beside its
pipeline, so `compile.py` can hand both over.
"""

import functools
import os
from collections.abc import Callable
from typing import Any

from kfp import dsl

CASES: dict[str, dict[str, Any]] = {}
"""By the pipeline's name: `made` (what the SDK made), and the keywords given to `case`."""

component = functools.partial(
    dsl.component, install_kfp_package=not os.environ.get("CONFORMANCE_WITHOUT_PIP")
)
"""`@dsl.component`. For kfp.local without the installation, which takes half a second a task."""


def case(**expected: Any) -> Callable[[Any], Any]:
    """What a run must come to. Keys, all optional:

    name: of the case, where it is not the pipeline's (one pipeline may be run in several ways).
    parameters: given to the run; `{folder}` in a text is a folder of this run's own, `{shared}` one of all.
    state: of the run; SUCCEEDED unless given. tasks: path -> state, of all tasks, no more and no fewer.
    outputs, artifacts: of the run: key -> value, key -> list of artifacts.
    task_outputs, task_artifacts, task_inputs: path -> the same of a task.
    errors: path ("" is the run) -> a pattern its error must match. attempts: path -> how many.
    display: path -> display name. logs: path -> a pattern its log must match.
    refused: a pattern of the error that submitting it must end with; nothing runs then.
    change: a function that alters the compiled IR, for what the SDK does not write itself.
    again: what the same pipeline submitted once more, after the first run has ended, must come to.
    cached: leave caching as the SDK has it; otherwise it is off. slow: what it needs takes long to install.
    """

    def register(made: Any) -> Any:
        name = expected.pop("name", None) or made.name
        assert name not in CASES, name
        CASES[name] = {"made": made, **expected}
        return made

    return register


@component
def add(a: int, b: int) -> int:
    """The sum."""
    return a + b


@component
def echo(text: str) -> str:
    """The text itself."""
    return text


@component
def fail(message: str = "no") -> str:
    """Ends badly, saying the message."""
    raise RuntimeError(message)


@component
def listing(count: int) -> list:
    """0, 1, ... below count."""
    return list(range(count))


@component
def total(numbers: list) -> int:
    """The sum of whole numbers; fails if one is no `int`."""
    assert all(type(n) is int for n in numbers), numbers
    return sum(numbers)


@component
def as_json(value: list) -> str:
    """The list, as JSON."""
    import json

    return json.dumps(value)


@component
def write_text(text: str, out: dsl.Output[dsl.Dataset]):
    """A dataset with that text."""
    with open(out.path, "w") as file:
        file.write(text)
    out.metadata["length"] = len(text)


@component
def read_text(data: dsl.Input[dsl.Dataset]) -> str:
    """What a dataset holds."""
    with open(data.path) as file:
        return file.read()


@component
def join_texts(data: list[dsl.Dataset]) -> str:
    """What several datasets hold, in the order given, with commas."""
    return ",".join(open(one.path).read() for one in data or [])
