"""Retries of tasks and of nested pipelines."""

from kfp import dsl
from tests.conformance.pipelines.common import add, case, component, echo, fail


@component
def flaky(folder: str, name: str, failures: int) -> int:
    """Fails as often as said, then gives the number of the attempt that did not."""
    import os

    marks = os.path.join(folder, name)
    with open(marks, "a") as file:
        file.write("x")
    tried = os.path.getsize(marks)
    assert tried > failures, f"attempt {tried}"
    return tried


@case(
    parameters={"folder": "{folder}"},
    tasks={"flaky": "SUCCEEDED", "add": "SUCCEEDED"},
    attempts={"flaky": 3, "add": 1},
    task_outputs={"flaky": {"Output": 3}, "add": {"Output": 13}},
)
@dsl.pipeline(name="retried-until-it-works")
def retried(folder: str):
    done = flaky(folder=folder, name="a", failures=2).set_retry(
        num_retries=3, backoff_duration="0s", backoff_factor=1.0, backoff_max_duration="1s"
    )
    add(a=done.output, b=10)


@case(
    state="FAILED",
    tasks={"fail": "FAILED", "echo": "SKIPPED"},
    attempts={"fail": 3},
)
@dsl.pipeline(name="retried-in-vain")
def in_vain():
    echo(text=fail().set_retry(num_retries=2).output)


@component
def apart(folder: str) -> float:
    """Seconds between the first attempt and the second, which is the one that works."""
    import os
    import time

    mark = os.path.join(folder, "first")
    if not os.path.exists(mark):
        with open(mark, "w") as file:
            file.write(str(time.time()))
        raise SystemExit(1)
    return time.time() - float(open(mark).read())


@component
def at_least(seconds: float, least: float):
    """Fails if it is less."""
    assert seconds >= least, seconds


@case(
    parameters={"folder": "{folder}"},
    tasks={"apart": "SUCCEEDED", "at-least": "SUCCEEDED"},
    attempts={"apart": 2},
)
@dsl.pipeline(name="backoff-is-waited-for")
def backoff(folder: str):
    waited = apart(folder=folder).set_retry(num_retries=1, backoff_duration="1s")
    at_least(seconds=waited.output, least=1.0)


@dsl.pipeline(name="part")
def part(folder: str, failures: int) -> int:
    ready = echo(text=folder)
    tried = flaky(folder=ready.output, name="part", failures=failures)
    return add(a=tried.output, b=100).output


PART = {
    "part": "SUCCEEDED",
    "part/echo": "SUCCEEDED",
    "part/flaky": "SUCCEEDED",
    "part/add": "SUCCEEDED",
}


@case(
    parameters={"folder": "{folder}", "failures": 1},
    tasks={**PART, "add": "SUCCEEDED"},
    outputs={"Output": 103},
)
@case(
    name="a-nested-pipeline-retried-in-vain",
    parameters={"folder": "{folder}", "failures": 9},
    state="FAILED",
    tasks={**PART, "part": "FAILED", "part/flaky": "FAILED", "part/add": "SKIPPED", "add": "SKIPPED"},
)
@dsl.pipeline(name="a-nested-pipeline-retried")
def nested_retried(folder: str, failures: int) -> int:
    done = part(folder=folder, failures=failures).set_retry(num_retries=1)
    return add(a=done.output, b=1).output
