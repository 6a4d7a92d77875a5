"""Artifacts: types, metadata, lists, paths of one's own, importers, and what is missing."""

from typing import List, NamedTuple, Optional

from kfp import dsl
from tests.conformance.pipelines.common import case, component, echo, join_texts, read_text, write_text


@component
def all_kinds(
    data: dsl.Output[dsl.Dataset],
    model: dsl.Output[dsl.Model],
    page: dsl.Output[dsl.HTML],
    notes: dsl.Output[dsl.Markdown],
    thing: dsl.Output[dsl.Artifact],
    numbers: dsl.Output[dsl.Metrics],
    classes: dsl.Output[dsl.ClassificationMetrics],
):
    """One of each, with metadata of every JSON kind."""
    for one, text in ((data, "rows"), (model, "weights"), (page, "<b>hi</b>"), (notes, "# hi"), (thing, "x")):
        with open(one.path, "w") as file:
            file.write(text)
    data.metadata.update({"n": 3, "x": 0.5, "ok": True, "words": ["a"], "d": {"k": None}})
    model.metadata["framework"] = "none"
    numbers.log_metric("accuracy", 0.9)
    numbers.log_metric("rows", 12)
    classes.log_roc_curve([0.0, 0.5], [0.0, 1.0], [float("inf"), 0.25])
    classes.log_confusion_matrix(["cat", "dog"], [[3, 1], [0, 4]])


@component
def look(data: dsl.Input[dsl.Dataset], model: dsl.Input[dsl.Model], numbers: dsl.Input[dsl.Metrics]) -> str:
    """What a consumer sees of them."""
    import json

    return json.dumps(
        [type(data).__name__, data.metadata, open(data.path).read(), model.framework, numbers.metadata]
    )


@case(
    tasks={"all-kinds": "SUCCEEDED", "look": "SUCCEEDED"},
    task_artifacts={
        "all-kinds": {
            "data": [
                {
                    "type": "system.Dataset",
                    "text": "rows",
                    "metadata": {"n": 3, "x": 0.5, "ok": True, "words": ["a"], "d": {"k": None}},
                }
            ],
            "model": [{"type": "system.Model", "text": "weights", "metadata": {"framework": "none"}}],
            "page": [{"type": "system.HTML", "text": "<b>hi</b>"}],
            "notes": [{"type": "system.Markdown", "text": "# hi"}],
            "thing": [{"type": "system.Artifact", "text": "x", "name": {"$any": True}}],
            "numbers": [{"type": "system.Metrics", "metadata": {"accuracy": 0.9, "rows": 12}}],
            "classes": [
                {
                    "type": "system.ClassificationMetrics",
                    "metadata": {
                        "confusionMatrix": {
                            "annotationSpecs": [{"displayName": "cat"}, {"displayName": "dog"}],
                            "rows": [{"row": [3, 1]}, {"row": [0, 4]}],
                        }
                    },
                }
            ],
        }
    },
    outputs={
        "Output": {
            "$json": [
                "Dataset",
                {"n": 3, "x": 0.5, "ok": True, "words": ["a"], "d": {"k": None}},
                "rows",
                "none",
                {"accuracy": 0.9, "rows": 12},
            ]
        }
    },
)
@dsl.pipeline(name="artifacts-of-each-kind")
def artifact_kinds() -> str:
    made = all_kinds().outputs
    return look(data=made["data"], model=made["model"], numbers=made["numbers"]).output


@component
def folder_out(out: dsl.Output[dsl.Dataset]):
    """A folder as an artifact."""
    import os

    os.makedirs(os.path.join(out.path, "deep"))
    for name in ("a.txt", "deep/b.txt"):
        with open(os.path.join(out.path, name), "w") as file:
            file.write(name)


@component
def folder_in(data: dsl.Input[dsl.Dataset]) -> str:
    """The files of a folder."""
    import os

    found = [os.path.join(place, name) for place, _, names in os.walk(data.path) for name in names]
    return ",".join(sorted(os.path.relpath(one, data.path) for one in found))


@case(tasks={"folder-out": "SUCCEEDED", "folder-in": "SUCCEEDED"}, outputs={"Output": "a.txt,deep/b.txt"})
@dsl.pipeline(name="a-folder-as-an-artifact")
def folder() -> str:
    return folder_in(data=folder_out().outputs["out"]).output


@component
def make(n: int) -> dsl.Dataset:
    """A dataset that is returned, at a place the SDK names."""
    made = dsl.Dataset(uri=dsl.get_uri(), metadata={"n": n})
    with open(made.path, "w") as file:
        file.write("made")
    return made


@component
def make_two(text: str) -> NamedTuple("Out", [("a", dsl.Dataset), ("b", dsl.Model), ("n", int)]):
    """Two artifacts and a number, returned."""
    a = dsl.Dataset(uri=dsl.get_uri("a"))
    b = dsl.Model(uri=dsl.get_uri("b"), metadata={"kind": "b"})
    for one in (a, b):
        with open(one.path, "w") as file:
            file.write(text)
    return (a, b, len(text))


@component
def read_plain(data: dsl.Dataset) -> str:
    """A dataset without the Input wrapper."""
    return f"{open(data.path).read()} {data.metadata.get('n')}"


@case(
    tasks={"make": "SUCCEEDED", "read-plain": "SUCCEEDED", "make-two": "SUCCEEDED"},
    outputs={"Output": "made 5"},
    task_artifacts={
        "make": {"Output": [{"type": "system.Dataset", "text": "made", "metadata": {"n": 5}}]},
        "make-two": {
            "a": [{"type": "system.Dataset", "text": "both"}],
            "b": [{"type": "system.Model", "text": "both", "metadata": {"kind": "b"}}],
        },
    },
    task_outputs={"make-two": {"n": 4}},
)
@dsl.pipeline(name="artifacts-that-are-returned")
def returned() -> str:
    make_two(text="both")
    return read_plain(data=make(n=5).output).output


@component
def read_some(data: Optional[dsl.Input[dsl.Dataset]] = None, other: dsl.Input[dsl.Model] = None) -> str:
    """Whether they came."""
    return f"{data is not None} {other is not None}"


@dsl.pipeline(name="inner-some")
def inner_some(data: dsl.Input[dsl.Dataset] = None) -> str:
    return read_some(data=data).output


@case(
    tasks={
        "write-text": "SUCCEEDED",
        "read-some": "SUCCEEDED",
        "read-some-2": "SUCCEEDED",
        "inner-some": "SUCCEEDED",
        "inner-some/read-some": "SUCCEEDED",
        "inner-some-2": "SUCCEEDED",
        "inner-some-2/read-some": "SUCCEEDED",
    },
    task_outputs={
        "read-some": {"Output": "True False"},
        "read-some-2": {"Output": "False False"},
        "inner-some": {"Output": "True False"},
        "inner-some-2": {"Output": "False False"},
    },
)
@dsl.pipeline(name="optional-artifacts")
def optional_artifacts():
    written = write_text(text="x")
    read_some(data=written.outputs["out"])
    read_some()
    inner_some(data=written.outputs["out"])
    inner_some()


@component
def forgets(out: dsl.Output[dsl.Dataset]) -> str:
    """Declares an artifact and writes none."""
    return "fine"


@case(tasks={"forgets": "SUCCEEDED"}, outputs={"Output": "fine"})
@dsl.pipeline(name="an-artifact-that-is-not-written")
def not_written() -> str:
    return forgets().outputs["Output"]


@component
def elsewhere(folder: str, out: dsl.Output[dsl.Dataset], moved: dsl.Output[dsl.Dataset]):
    """Puts one at a path of its own, and gives the other another URI."""
    import os

    out.set_path(os.path.join(folder, "own.txt"))
    moved.uri = os.path.join(folder, "moved.txt")
    for one, text in ((out, "at a path of its own"), (moved, "under another uri")):
        with open(one.path, "w") as file:
            file.write(text)


@component
def where(out: dsl.Input[dsl.Dataset], moved: dsl.Input[dsl.Dataset]) -> str:
    """What is found there."""
    import os

    return f"{open(out.path).read()} | {open(moved.path).read()} | {os.path.basename(moved.uri)}"


@case(
    parameters={"folder": "{folder}"},
    tasks={"elsewhere": "SUCCEEDED", "where": "SUCCEEDED"},
    outputs={"Output": "at a path of its own | under another uri | moved.txt"},
    task_artifacts={
        "elsewhere": {
            "out": [{"custom_path": {"$match": "own.txt$"}}],
            "moved": [{"uri": {"$match": "moved.txt$"}, "text": "under another uri"}],
        }
    },
)
@dsl.pipeline(name="paths-of-ones-own")
def own_paths(folder: str) -> str:
    made = elsewhere(folder=folder).outputs
    return where(out=made["out"], moved=made["moved"]).output


@case(
    parameters={"where": "{shared}/words.txt", "word": "k"},
    tasks={
        "importer": "SUCCEEDED",
        "importer-2": "SUCCEEDED",
        "importer-3": "SUCCEEDED",
        "read-text": "SUCCEEDED",
    },
    outputs={"text": "shared words"},
    artifacts={"file": [{"type": "system.Dataset", "text": "shared words"}]},
    task_artifacts={
        "importer": {
            "artifact": [
                {
                    "uri": {"$match": "words.txt$"},
                    "type": "system.Dataset",
                    "metadata": {"k": "v", "list": ["k", 1], "deep": {"word": "k"}, "number": 3},
                }
            ]
        },
        "importer-2": {
            "artifact": [
                {"uri": "gs://bucket/model", "type": "system.Model", "metadata": {"framework": "tf"}}
            ]
        },
        "importer-3": {"artifact": [{"uri": "s3://bucket/thing", "type": "system.Artifact"}]},
    },
)
@dsl.pipeline(name="importers")
def importers(where: str, word: str) -> NamedTuple("Out", [("text", str), ("file", dsl.Dataset)]):
    local = dsl.importer(
        artifact_uri=where,
        artifact_class=dsl.Dataset,
        reimport=False,
        metadata={word: "v", "list": [word, 1], "deep": {"word": word}, "number": 3},
    )
    dsl.importer(artifact_uri="gs://bucket/model", artifact_class=dsl.Model, metadata={"framework": "tf"})
    dsl.importer(artifact_uri="s3://bucket/thing", artifact_class=dsl.Artifact, reimport=True)
    text = read_text(data=local.output)
    return NamedTuple("Out", [("text", str), ("file", dsl.Dataset)])(text.output, local.output)


class OurModel(dsl.Artifact):
    """A type of artifact that is not the SDK's."""

    schema_title = "google.OurModel"
    schema_version = "0.2.0"


@case(
    tasks={"importer": "SUCCEEDED", "echo": "SUCCEEDED"},
    task_artifacts={"importer": {"artifact": [{"type": "google.OurModel", "metadata": {"a": {"b": [1]}}}]}},
)
@dsl.pipeline(name="a-type-of-ones-own")
def own_type():
    model = dsl.importer(
        artifact_uri="https://acme.example/model", artifact_class=OurModel, metadata={"a": {"b": [1]}}
    )
    echo(text="after").after(model)


@component
def describe(data: dsl.Input[List[dsl.Dataset]]) -> str:
    """Name, metadata and text of each."""
    import json

    return json.dumps([[one.metadata["length"], open(one.path).read()] for one in data])


@dsl.pipeline(name="pass-on")
def pass_on(data: List[dsl.Dataset]) -> List[dsl.Dataset]:
    describe(data=data)
    with dsl.ParallelFor(["x"]) as word:
        more = write_text(text=word)
    return dsl.Collected(more.outputs["out"])


@case(
    tasks={
        "for-loop-2": "SUCCEEDED",
        "for-loop-2/0": "SUCCEEDED",
        "for-loop-2/0/write-text": "SUCCEEDED",
        "for-loop-2/1": "SUCCEEDED",
        "for-loop-2/1/write-text": "SUCCEEDED",
        "pass-on": "SUCCEEDED",
        "pass-on/describe": "SUCCEEDED",
        "pass-on/for-loop-2": "SUCCEEDED",
        "pass-on/for-loop-2/0": "SUCCEEDED",
        "pass-on/for-loop-2/0/write-text": "SUCCEEDED",
        "join-texts": "SUCCEEDED",
    },
    task_outputs={
        "pass-on/describe": {"Output": '[[1, "a"], [2, "bb"]]'},
        "join-texts": {"Output": "x"},
    },
)
@dsl.pipeline(name="lists-of-artifacts")
def artifact_lists():
    with dsl.ParallelFor(["a", "bb"]) as word:
        made = write_text(text=word)
    passed = pass_on(data=dsl.Collected(made.outputs["out"]))
    join_texts(data=passed.output)


@component
def slices(out: dsl.Output[dsl.Metrics]):
    """A metric that JSON has no word for."""
    out.log_metric("best", float("inf"))
    out.log_metric("loss", 0.25)


@case(
    tasks={"slices": "SUCCEEDED"},
    task_artifacts={"slices": {"out": [{"metadata": {"best": {"$any": True}, "loss": 0.25}}]}},
)
@dsl.pipeline(name="a-metric-without-end")
def infinite():
    slices()
