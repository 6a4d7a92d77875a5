"""Pipelines that a test interferes with: it cancels the run, retries it, or kills the server.

Named `life-...`: they are not run with the others.
"""

from kfp import dsl
from tests.conformance.pipelines.common import add, case, component, echo
from tests.conformance.pipelines.retries import flaky


@component
def wait(folder: str, name: str) -> str:
    """Says that it runs, and goes on when a file named `go` is there."""
    import os
    import time

    with open(os.path.join(folder, f"running-{name}"), "a") as file:
        file.write("x")
    for _ in range(600):
        if os.path.exists(os.path.join(folder, "go")):
            return name
        time.sleep(0.05)
    raise SystemExit("nobody said go")


@case()
@dsl.pipeline(name="life-canceled")
def canceled(folder: str):
    told = echo(text="the exit task")
    with dsl.ExitHandler(told):
        with dsl.ParallelFor(["a", "b"]) as item:
            waited = wait(folder=folder, name=item)
            echo(text=waited.output)


@case()
@dsl.pipeline(name="life-retried")
def retried(folder: str) -> int:
    first = add(a=1, b=2)
    with dsl.ParallelFor([1, 2]) as item:
        tried = flaky(folder=folder, name=f"n{item}", failures=1)
        add(a=tried.output, b=first.output)
    return first.output


@case()
@dsl.pipeline(name="life-of-a-killed-server")
def killed(folder: str) -> list:
    with dsl.ParallelFor(["a", "b"]) as item:
        waited = wait(folder=folder, name=item)
        said = echo(text=f"{waited.output} went on")
    return dsl.Collected(said.output)
