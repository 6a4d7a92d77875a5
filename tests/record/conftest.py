"""A real database of each kind for every test of the record."""

from collections.abc import Iterator
from itertools import count

import pytest

from tuneline.plan.events import ArtifactRef, Child, Outputs
from tuneline.record.record import Record
from tuneline.record.releases import Proposal
from tuneline.record.runs import NewRun
from tuneline.types import Digest, RunId, digest_json

IR = {
    "pipelineInfo": {"name": "line"},
    "root": {
        "dag": {
            "tasks": {
                "fetch": {"componentRef": {"name": "comp-fetch"}},
                "tune": {
                    "componentRef": {"name": "comp-tune"},
                    "dependentTasks": ["fetch"],
                    "inputs": {
                        "artifacts": {
                            "data": {
                                "taskOutputArtifact": {"producerTask": "fetch", "outputArtifactKey": "data"}
                            }
                        }
                    },
                },
            }
        }
    },
}


@pytest.fixture
def record(database_url: str) -> Iterator[Record]:
    """A migrated record whose clock ticks one second a call."""
    ticks = count(1_800_000_000)
    made = Record(database_url, clock=lambda: float(next(ticks)))
    made.migrate()
    yield made
    made.close()


@pytest.fixture
def new_run():
    """Makes a run's values."""

    def make(id: str = "r1", project: str = "reviews", ir=IR) -> NewRun:
        tasks = tuple(Child(name, "task", name) for name in ir["root"]["dag"]["tasks"])
        return NewRun(id=RunId(id), name=id, project=project, ir=ir, parameters={"train_r": 8}, tasks=tasks)

    return make


@pytest.fixture
def outputs():
    """Makes outputs with one artifact."""

    def make(name: str = "data", text: str = "x") -> Outputs:
        ref = ArtifactRef(name, "system.Dataset", f"/tmp/{text}", digest_json(text), 3, {"rows": 1})
        return Outputs({"n": 1}, {name: (ref,)})

    return make


@pytest.fixture
def proposal():
    """Makes a proposal; `content` stands for the package's bytes."""

    def make(content: str = "a", **changes) -> Proposal:
        manifest = {
            "model": "reviews",
            "base": {"name": "gemma", "file_sha256": "f"},
            "labels": ["negative", "positive"],
            "template_hash": "t",
            "tokenizer_hash": "k",
            "method": "lora",
            "recipe": {"r": 8},
            "recipe_digest": "r8",
            "data_digest": "d",
            "rows_digest": content,
        }
        values = {
            "model": "reviews",
            "package_uri": f"/packages/{content}",
            "package_digest": digest_json(content),
            "base_uri": "/base",
            "base_digest": Digest("sha256:" + "1" * 64),
            "manifest": manifest,
            "verdict": {"passed": True, "rules": [{"rule": "accuracy >= 0.8", "passed": True}]},
            "proof": {"passed": True, "runtime": "llamacpp"},
            "report": {"rows": 400},
            "deploy": {"endpoint": "reviews", "runtime": "llamacpp", "port": 0, "keep_s": 1800},
            "live_digest": "",
            "approved": True,
            "why": "the gate passed",
            "run": "r1",
            "project_digest": "p",
            "by": "ann",
        }
        return Proposal(**{**values, **changes})

    return make
