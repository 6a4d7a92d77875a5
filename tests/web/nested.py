"""A run with a nested pipeline, a loop, artifacts of every kind that is shown, and a failure, on record.

Its events are those that a runner writes; its files are real.
"""

import json
import time
from pathlib import Path

from tuneline.plan.events import (
    ArtifactRef,
    AttemptFailed,
    AttemptStarted,
    Child,
    GraphStarted,
    Outputs,
    Read,
    RunEnded,
    TaskSkipped,
    TaskSucceeded,
)
from tuneline.types import digest_json


def task(component, after=(), **more):
    return {
        "taskInfo": {"name": component},
        "componentRef": {"name": f"comp-{component}"},
        "dependentTasks": list(after),
        **more,
    }


def loop(component, after):
    given = {"items": {"raw": "[1, 2, 3]"}, "itemInput": "n"}
    return task(component, after, parameterIterator=given)


STRING = {"parameterType": "STRING"}
LEAF = {"executorLabel": "exec-run"}
ITEM = {"inputDefinitions": {"parameters": {"n": {"parameterType": "NUMBER_INTEGER"}}}}
IR = {
    "schemaVersion": "2.1.0",
    "pipelineInfo": {"name": "nested"},
    "components": {
        "comp-train": LEAF,
        "comp-report": LEAF,
        "comp-print": LEAF,
        "comp-inner": {"dag": {"tasks": {"print": task("print")}}},
        "comp-each": {**ITEM, "dag": {"tasks": {"print": task("print")}}},
    },
    "deploymentSpec": {"executors": {"exec-run": {"container": {"image": "tuneline", "command": ["true"]}}}},
    "root": {
        "inputDefinitions": {
            "parameters": {
                "title": {**STRING, "isOptional": True},
                "rate": {"parameterType": "NUMBER_DOUBLE", "defaultValue": 0.125, "isOptional": True},
                "db_password": {**STRING, "defaultValue": "h1dden", "isOptional": True},
                "api_token": {**STRING, "isOptional": True},
                "n": {"parameterType": "NUMBER_INTEGER", "isOptional": True},
            }
        },
        "dag": {
            "tasks": {
                "train": task("train"),
                "inner": task("inner", ["train"]),
                "for-loop-1": loop("each", ["inner"]),
                "report": task("report", ["for-loop-1"]),
            }
        },
    },
}
POINTS = [
    {"confidenceThreshold": t, "recall": r, "falsePositiveRate": f}
    for t, r, f in ((1, 0, 0), (0.5, 0.8, 0.1), (0, 1, 1))
]
MATRIX = {
    "annotationSpecs": [{"displayName": "cat"}, {"displayName": "dog"}],
    "rows": [{"row": [5, 1]}, {"row": [2, 7]}],
}


class Story:
    """Tells a run's events one after another."""

    def __init__(self, platform, runner, folder: Path, parameters=None) -> None:
        self.folder = folder
        self.record = platform.record
        self.id = platform.submit(IR, parameters or {}, {})["id"]
        self.lease = runner.leases[self.id]

    def tell(self, *events) -> None:
        self.record.runs.append(self.lease, events, time.time())

    def begin(self, path: str, log: str = "") -> Path:
        folder = self.folder / self.id / path / "1"
        folder.mkdir(parents=True)
        (folder / "log.txt").write_text(log)
        self.tell(AttemptStarted(path, 1, 1, 1.0, str(folder), read=Read({"word": "<b>given</b>"}, {})))
        return folder

    def open(self, path: str, *children: Child, loop: bool = False) -> None:
        self.tell(GraphStarted(path, 1, children, loop))

    def done(self, path: str, outputs: Outputs | None = None) -> None:
        self.tell(TaskSucceeded(path, 1, outputs or Outputs()))

    def artifact(self, path: str, key: str, type: str, text: str = "", **metadata) -> tuple[ArtifactRef, ...]:
        file = self.folder / self.id / path / "1" / key
        file.write_text(text)
        id = f"{self.id}/{path}/1/{key}"
        return (ArtifactRef(key, type, str(file), digest_json(text), len(text), metadata, id),)


def told(platform, runner, folder: Path, parameters=None) -> Story:
    """The whole run: `train` puts everything out, one iteration of the loop fails, `report` is skipped."""
    story = Story(platform, runner, folder, parameters)
    story.begin("train", "epoch 1\nepoch 2 <script>alert(1)</script>\n")
    ui = {"outputs": [{"type": "web-app", "storage": "inline", "source": "<i>web app</i>"},
                      {"type": "tensorboard", "source": "/logs"}]}  # fmt: skip
    made = {
        "model": story.artifact("train", "model", "system.Model", "weights", framework="none"),
        "scores": story.artifact("train", "scores", "system.Metrics", accuracy=0.875),
        "classes": story.artifact(
            "train",
            "classes",
            "system.ClassificationMetrics",
            confidenceMetrics=POINTS,
            confusionMatrix=MATRIX,
        ),
        "page": story.artifact("train", "page", "system.HTML", "<script>document.title = 'x'</script><p>Hi"),
        "notes": story.artifact("train", "notes", "system.Markdown", "# Notes\n\n<script>y</script>"),
        "mlpipeline-ui-metadata": story.artifact(
            "train", "mlpipeline-ui-metadata", "system.Artifact", json.dumps(ui)
        ),
    }
    story.done("train", Outputs({"loss": 0.25, "text": "<img src=x>"}, made))
    story.open("inner", Child("inner/print", "task", "print"))
    story.begin("inner/print", "inner says hello\n")
    story.done("inner/print")
    story.done("inner")
    story.open(
        "for-loop-1", *(Child(f"for-loop-1/{n}", "iteration", f"each {n}") for n in range(3)), loop=True
    )
    for n in range(3):
        path = f"for-loop-1/{n}"
        story.open(path, Child(f"{path}/print", "task", "print"))
        story.begin(f"{path}/print", f"item {n}\n")
        if n < 2:
            story.done(f"{path}/print")
            story.done(path)
    error = {"code": "error", "message": "It broke.", "hint": "Mend it.", "details": [], "retry": False}
    for path in ("for-loop-1/2/print", "for-loop-1/2", "for-loop-1"):
        story.tell(AttemptFailed(path, 1, 1, {**error, "task": "for-loop-1/2/print"}))
    story.tell(TaskSkipped("report", "`for-loop-1` failed"))
    story.tell(RunEnded("FAILED", {**error, "task": "for-loop-1/2/print"}))
    return story
