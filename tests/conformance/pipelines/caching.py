"""Caching: what is taken from an earlier run, with and without a key of one's own."""

from typing import NamedTuple

from kfp import dsl
from tests.conformance.pipelines.common import case, component


@component
def once(folder: str, word: str, out: dsl.Output[dsl.Model]) -> int:
    """How often it ran in this folder; a model with metadata beside."""
    import os

    marks = os.path.join(folder, "once")
    with open(marks, "a") as file:
        file.write("x")
    with open(out.path, "w") as file:
        file.write(word)
    out.metadata["word"] = word
    return os.path.getsize(marks)


@component
def read_model(model: dsl.Input[dsl.Model]) -> str:
    """Text and metadata."""
    return open(model.path).read() + "/" + model.metadata["word"]


@case(
    cached=True,
    parameters={"folder": "{folder}", "word": "w"},
    tasks={"once": "SUCCEEDED", "read-model": "SUCCEEDED"},
    outputs={"n": 1, "text": "w/w"},
    again={
        "tasks": {"once": "CACHED", "read-model": "CACHED"},
        "outputs": {"n": 1, "text": "w/w"},
        "task_artifacts": {
            "once": {"out": [{"text": "w", "metadata": {"word": "w"}, "type": "system.Model"}]}
        },
    },
)
@dsl.pipeline(name="cached")
def cached(folder: str, word: str) -> NamedTuple("Out", [("n", int), ("text", str)]):
    made = once(folder=folder, word=word)
    text = read_model(model=made.outputs["out"])
    return NamedTuple("Out", [("n", int), ("text", str)])(made.outputs["Output"], text.output)


@case(
    cached=True,
    parameters={"folder": "{folder}", "word": "other"},
    tasks={"once": "SUCCEEDED", "read-model": "SUCCEEDED"},
    again={"tasks": {"once": "SUCCEEDED", "read-model": "CACHED"}, "task_outputs": {"once": {"Output": 2}}},
)
@dsl.pipeline(name="caching-switched-off")
def not_cached(folder: str, word: str):
    made = once(folder=folder, word=word).set_caching_options(False)
    read_model(model=made.outputs["out"])


@case(
    cached=True,
    parameters={"folder": "{folder}", "word": "one"},
    tasks={"once": "SUCCEEDED"},
    again={
        "parameters": {"folder": "{folder}", "word": "two"},
        "tasks": {"once": "CACHED"},
        "task_outputs": {"once": {"Output": 1}},
        "task_artifacts": {"once": {"out": [{"text": "one"}]}},
    },
)
@dsl.pipeline(name="a-cache-key-of-ones-own")
def own_key(folder: str, word: str):
    once(folder=folder, word=word).set_caching_options(True, cache_key="the-only-one")


@case(
    cached=True,
    parameters={"folder": "{folder}", "word": "one"},
    tasks={"once": "SUCCEEDED"},
    again={
        "parameters": {"folder": "{folder}", "word": "two"},
        "tasks": {"once": "SUCCEEDED"},
        "task_outputs": {"once": {"Output": 2}},
    },
)
@dsl.pipeline(name="other-inputs-are-no-hit")
def other_inputs(folder: str, word: str):
    once(folder=folder, word=word)


@component
def fail_once(folder: str) -> str:
    """Fails the first time."""
    import os

    mark = os.path.join(folder, "failed")
    if not os.path.exists(mark):
        open(mark, "w").close()
        raise SystemExit(1)
    return "works now"


@case(
    cached=True,
    parameters={"folder": "{folder}"},
    state="FAILED",
    tasks={"fail-once": "FAILED"},
    again={"tasks": {"fail-once": "SUCCEEDED"}, "outputs": {"Output": "works now"}},
)
@dsl.pipeline(name="a-failure-is-never-cached")
def failure_not_cached(folder: str) -> str:
    return fail_once(folder=folder).output


@dsl.pipeline(name="inside")
def inside(folder: str) -> str:
    made = once(folder=folder, word="deep")
    return read_model(model=made.outputs["out"]).output


@case(
    cached=True,
    parameters={"folder": "{folder}"},
    tasks={
        "for-loop-2": "SUCCEEDED",
        "for-loop-2/0": "SUCCEEDED",
        "for-loop-2/0/inside": "SUCCEEDED",
        "for-loop-2/0/inside/once": "SUCCEEDED",
        "for-loop-2/0/inside/read-model": "SUCCEEDED",
    },
    again={
        "tasks": {
            "for-loop-2": "SUCCEEDED",
            "for-loop-2/0": "SUCCEEDED",
            "for-loop-2/0/inside": "SUCCEEDED",
            "for-loop-2/0/inside/once": "CACHED",
            "for-loop-2/0/inside/read-model": "CACHED",
        }
    },
)
@dsl.pipeline(name="cached-in-a-nested-pipeline")
def nested_cached(folder: str):
    with dsl.ParallelFor(["x"]):
        inside(folder=folder)
