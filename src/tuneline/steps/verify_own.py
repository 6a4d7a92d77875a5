"""The step `verify` of a project with own code: starts the runtime as it will be deployed, in the environment
of the release's requirements, and proves that it predicts what the model predicted where it was scored.
"""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tuneline.errors import ModelError, ProofError
from tuneline.execute.files import digest_path
from tuneline.serve import child
from tuneline.serve.interpreters import interpreter_of, version_of
from tuneline.serve.loading import read_json
from tuneline.serve.own_proof import OwnProof, prove_own
from tuneline.serve.proof import Identity
from tuneline.serve.pyfunc import ABOUT
from tuneline.serve.pyfunc_program import CODE
from tuneline.settings import Settings
from tuneline.steps.io import Step

PATIENCE_S = 300.0
"""How long a prediction may take."""


@dataclass(frozen=True)
class OwnSubject:
    """What is to be proven: folders, as the line made them."""

    interpreter: Path
    model: Path
    served: Path
    test: Path
    scores: Path


def run(step: Step) -> None:
    """Parameters: runtime, task. Inputs: model, code, scores, test. Puts out served and proof.

    Raises: ProofError with every reason if the runtime does not give what the model gave.
    """
    about = read_json(step.inputs["code"] / ABOUT)
    interpreter = interpreter_of(about, Settings.from_env(os.environ), step.note)
    served = step.outputs["served"]
    make_served(step.inputs["code"], about["requirements"], served)
    subject = OwnSubject(
        interpreter, step.inputs["model"], served, step.inputs["test"], step.inputs["scores"]
    )
    with step.model_at_work():
        found = prove(subject)
    step.outputs["proof"].write_text(
        json.dumps(found.to_json(), indent=2, sort_keys=True) + "\n", encoding="utf-8"
    )
    step.progress(found.rows, found.rows, "rows")
    if not found.passed:
        raise ProofError(
            f"What pyfunc serves is not what was trained: {found.reasons[0]}.",
            hint="Nothing was released. docs/own-code.md says what the proof compares.",
            details=list(found.reasons),
        )


def make_served(code: Path, requirements: Sequence[str], served: Path) -> None:
    """Write the `served` folder: the code, and what it needs."""
    shutil.copytree(code, served / CODE, ignore=shutil.ignore_patterns("__pycache__"))
    text = "".join(f"{line}\n" for line in requirements)
    (served / "requirements.txt").write_text(text, encoding="utf-8")


def prove(subject: OwnSubject) -> OwnProof:
    """The proof. Raises: ProofError if the runtime does not start, or refuses a row."""
    scores = read_json(subject.scores)
    label = read_json(subject.test / "info.json")["label"]
    with (subject.test / "rows.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    at: list[int] = scores["served"]["rows"]
    asked = [{name: value for name, value in rows[index].items() if name != label} for index in at]
    arguments: list[str | Path] = ["--runtime", "pyfunc", "--model", "proof", "--served", subject.served]
    arguments += ["--adapter", subject.model, "--python", subject.interpreter]
    try:
        with child.running(arguments) as url, httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
            version = str(client.get("/version").json()["runtime_version"])
            alone = [_ask(client, [row])[0] for row in asked]
            batch = _ask(client, asked)
    except (ModelError, httpx.HTTPError) as error:
        raise ProofError(
            f"The runtime could not be asked: {getattr(error, 'message', error)}",
            hint="Nothing was released. The log has the traceback of the project's own code.",
            details=getattr(error, "details", []),
        ) from error
    evaluated = scores["predictions"]
    said = None if evaluated is None else [evaluated[index] for index in at]
    return prove_own(identify(subject, version), scores["served"]["predictions"], alone, batch, said)


def identify(subject: OwnSubject, version: str = "") -> Identity:
    """What exactly is compared."""
    about = read_json(subject.served / CODE / ABOUT)
    return Identity(
        runtime="pyfunc",
        runtime_version=version or version_of(subject.interpreter, about),
        quantization="none",
        base_digest="",
        base_file_sha256="",
        adapter_digest=digest_path(subject.model)[0],
        served_digest=digest_path(subject.served)[0],
        template_hash="",
        tokenizer_hash="",
    )


def _ask(client: httpx.Client, rows: Sequence[Any]) -> list[Any]:
    answer = client.post("/invocations", json={"dataframe_records": list(rows)})
    if answer.status_code != 200:
        raise ModelError(f"it refused a held-out row ({answer.status_code}): {answer.text[:1000]}")
    found = answer.json()["predictions"]
    if not isinstance(found, list) or len(found) != len(rows):
        raise ModelError(f"it gave {str(found)[:200]} for {len(rows)} rows: not one prediction for each")
    return found
