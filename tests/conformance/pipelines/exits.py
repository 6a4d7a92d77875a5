"""Exit handlers, final status, ignore_upstream_failure: what runs whatever happened, and what it is told."""

from typing import NamedTuple

from kfp import dsl
from tests.conformance.pipelines.common import add, case, component, echo, fail


@component
def tell(status: dsl.PipelineTaskFinalStatus, word: str = "") -> str:
    """What the final status says, as JSON."""
    import json

    return json.dumps(
        [
            status.state,
            status.pipeline_task_name,
            status.error_code is not None,
            bool(status.error_message),
            word,
        ]
    )


@component
def resource(status: dsl.PipelineTaskFinalStatus) -> str:
    """The run's resource name."""
    return status.pipeline_job_resource_name


@case(
    tasks={
        "exit-handler-1": "SUCCEEDED",
        "exit-handler-1/echo": "SUCCEEDED",
        "tell": "SUCCEEDED",
    },
    outputs={"Output": '["SUCCEEDED", "exit-handler-1", false, false, "bye"]'},
)
@dsl.pipeline(name="exit-after-success")
def exit_after_success() -> str:
    told = tell(word="bye")
    with dsl.ExitHandler(told):
        echo(text="body")
    return told.output


@case(
    tasks={
        "exit-handler-1": "SUCCEEDED",
        "exit-handler-1/echo": "SUCCEEDED",
        "resource": "SUCCEEDED",
    },
    outputs={"Output": {"$match": "^exit-names-its-run-"}},
)
@dsl.pipeline(name="exit-names-its-run")
def exit_names_its_run() -> str:
    told = resource()
    with dsl.ExitHandler(told):
        echo(text="body")
    return told.output


def _behind(ir: dict) -> None:
    ir["root"]["dag"]["tasks"]["echo-2"]["dependentTasks"] = ["exit-handler-1"]


@case(
    change=_behind,
    state="FAILED",
    tasks={
        "exit-handler-1": "FAILED",
        "exit-handler-1/fail": "FAILED",
        "exit-handler-1/echo": "SKIPPED",
        "tell": "SUCCEEDED",
        "echo-2": "SKIPPED",
    },
    task_outputs={"tell": {"Output": '["FAILED", "exit-handler-1", true, true, "bye"]'}},
    errors={"": "fail"},
)
@dsl.pipeline(name="exit-after-failure")
def exit_after_failure():
    with dsl.ExitHandler(tell(word="bye")):
        echo(text=fail().output)
    echo(text="behind")


@case(
    state="FAILED",
    tasks={
        "exit-handler-1": "SUCCEEDED",
        "exit-handler-1/echo": "SUCCEEDED",
        "fail": "FAILED",
    },
)
@dsl.pipeline(name="an-exit-task-that-fails")
def failing_exit():
    with dsl.ExitHandler(fail(message="the exit task itself")):
        echo(text="body")


@case(
    state="FAILED",
    tasks={
        "exit-handler-1": "FAILED",
        "exit-handler-1/echo-2": "SUCCEEDED",
        "exit-handler-1/fail": "FAILED",
        "echo": "SUCCEEDED",
        "exit-handler-2": "SUCCEEDED",
        "exit-handler-2/echo-4": "SUCCEEDED",
        "echo-3": "SUCCEEDED",
    },
    task_outputs={"echo": {"Output": "first exit"}, "echo-3": {"Output": "second exit"}},
)
@dsl.pipeline(name="several-exit-handlers")
def several_handlers(message: str = "hello"):
    first = echo(text="first exit")
    with dsl.ExitHandler(first):
        echo(text=message)
        fail()
    second = echo(text="second exit")
    with dsl.ExitHandler(second):
        echo(text=message)


@dsl.pipeline(name="guarded")
def guarded(bad: bool):
    with dsl.ExitHandler(tell(word="inner")):
        with dsl.If(bad == True):
            fail()
        with dsl.Else():
            echo(text="good")


@case(
    parameters={"bad": True},
    state="FAILED",
    tasks={
        "exit-handler-1": "FAILED",
        "exit-handler-1/guarded": "FAILED",
        "exit-handler-1/guarded/exit-handler-1": "FAILED",
        "exit-handler-1/guarded/exit-handler-1/condition-branches-2": "FAILED",
        "exit-handler-1/guarded/exit-handler-1/condition-branches-2/condition-3": "FAILED",
        "exit-handler-1/guarded/exit-handler-1/condition-branches-2/condition-3/fail": "FAILED",
        "exit-handler-1/guarded/exit-handler-1/condition-branches-2/condition-4": "SKIPPED",
        "exit-handler-1/guarded/tell": "SUCCEEDED",
        "tell": "SUCCEEDED",
    },
    task_outputs={
        "exit-handler-1/guarded/tell": {"Output": '["FAILED", "exit-handler-1", true, true, "inner"]'},
        "tell": {"Output": '["FAILED", "exit-handler-1", true, true, "outer"]'},
    },
)
@dsl.pipeline(name="nested-exit-handlers")
def nested_handlers(bad: bool):
    with dsl.ExitHandler(tell(word="outer")):
        guarded(bad=bad)


@component
def with_default(text: str = "nothing came") -> str:
    """What came, or what is said when nothing did."""
    return text


@case(
    state="FAILED",
    tasks={"fail": "FAILED", "with-default": "SUCCEEDED", "echo": "SKIPPED", "echo-2": "SUCCEEDED"},
    task_outputs={"with-default": {"Output": "nothing came"}, "echo-2": {"Output": "nothing came"}},
)
@dsl.pipeline(name="ignore-upstream-failure")
def ignore_failure():
    failed = fail()
    echo(text=failed.output)
    kept = with_default(text=failed.output).ignore_upstream_failure()
    echo(text=kept.output)


@case(
    tasks={"echo": "SUCCEEDED", "with-default": "SUCCEEDED"},
    outputs={"Output": "came"},
)
@dsl.pipeline(name="ignore-upstream-success")
def ignore_success() -> str:
    said = echo(text="came")
    return with_default(text=said.output).ignore_upstream_failure().output


@case(
    state="FAILED",
    tasks={"fail": "FAILED", "tell": "SUCCEEDED"},
    task_outputs={"tell": {"Output": '["FAILED", "fail", true, true, "x"]'}},
)
@dsl.pipeline(name="ignore-upstream-failure-and-tell")
def ignore_and_tell():
    failed = fail()
    tell(word="x").after(failed).ignore_upstream_failure()


@case(
    state="FAILED",
    tasks={"fail": "FAILED", "echo": "SKIPPED", "with-default": "SUCCEEDED"},
    task_outputs={"with-default": {"Output": "nothing came"}},
)
@dsl.pipeline(name="ignore-upstream-skipped")
def ignore_skipped():
    skipped = echo(text=fail().output)
    with_default(text=skipped.output).ignore_upstream_failure()


@component
def numbers_or(n: int = -1, text: str = "") -> NamedTuple("Out", [("n", int), ("text", str)]):
    """Passes on, or says what there is by default."""
    return (n, text)


@case(
    state="FAILED",
    parameters={"go": False},
    tasks={
        "exit-handler-1": "FAILED",
        "exit-handler-1/condition-2": "SKIPPED",
        "exit-handler-1/add": "SUCCEEDED",
        "exit-handler-1/fail": "FAILED",
        "numbers-or": "SUCCEEDED",
    },
    task_outputs={"numbers-or": {"n": 7, "text": "from outside"}},
)
@dsl.pipeline(name="exit-with-parameters")
def exit_with_parameters(go: bool, word: str = "from outside"):
    with dsl.ExitHandler(numbers_or(n=7, text=word)):
        add(a=1, b=2)
        fail()
        with dsl.If(go == True):
            echo(text=word)
