"""The step `propose`: ends the line by offering the package to the server, which allocates the version.

Never cached; proposing identical content is a no-op that says so. Without a server it leaves a bundle
(`steps.bundle`) at its output of that name, which `tuneline import` takes; with one that output is empty.
"""

import json
import os
from pathlib import Path
from typing import Any

from tuneline.client import Client
from tuneline.client.packages import send
from tuneline.execute.files import digest_path
from tuneline.plan.handing import RECORD_RUN
from tuneline.steps import bundle
from tuneline.steps.asking import asked, shares_files
from tuneline.steps.gate import UNKNOWN
from tuneline.steps.io import Step


def run(step: Step) -> None:
    """Parameters: model, deploy, monitor, approval, live_digest, passed. Puts out release, state and reason.

    Raises: ConflictError if another release went live since the gate compared with the live one.
    """
    run_id = os.environ.get(RECORD_RUN) or os.environ.get("TUNELINE_RUN_ID", "")
    proposal = body(step, run_id)
    place = step.outputs.get("bundle")  # a pipeline of before has none
    if not os.environ.get("TUNELINE_URL"):
        reason = "no server: TUNELINE_URL is unset; the package waits to be imported"
        _put_out(step, {"release": "", "state": "candidate", "reason": reason})
        if place is None:
            step.note(f"{reason}: {step.inputs['package']}")
            return
        bundle.write(step, proposal, run_id, place)
        step.note(f"{reason}: `tuneline import` with the place of this task's output `bundle`")
        return
    if place is not None:
        place.mkdir(parents=True, exist_ok=True)
    answer = asked(os.environ, lambda client: _proposed(client, proposal))
    _put_out(step, answer)
    step.note(f"{answer['release']}: {answer['state']} ({answer['reason']})")


def _proposed(client: Client, proposal: dict[str, Any]) -> dict[str, Any]:
    """The server's answer; the package is sent first where our files are not its own."""
    if not shares_files(client, os.environ):
        send(client, str(proposal["package_digest"]), Path(proposal["package"]))
        proposal = {**proposal, "package": "", "base": ""}
    return client.propose(proposal)


def body(step: Step, run_id: str) -> dict[str, Any]:
    """The proposal as `POST /api/v1/releases:propose` takes it."""
    package, base = step.inputs["package"], step.inputs.get("base")  # own code stands on none
    live_digest = str(step.parameters.get("live_digest", ""))
    told = {
        name: json.loads(step.inputs[name].read_text(encoding="utf-8"))
        for name in ("verdict", "proof", "report")
    }
    models = (told["verdict"].get("comparison") or {}).get("models") or {}
    if "candidate" in models and not models["candidate"].get(
        "digest"
    ):  # own code is digested as it is packed
        manifest = json.loads((package / "manifest.json").read_text(encoding="utf-8"))
        models["candidate"]["digest"] = manifest["adapter_digest"]
    # the proof digested the base when it was made; reading a gigabyte again would cost every run a second
    base_digest = told["proof"].get("base_digest") or (digest_path(base)[0] if base else "")
    return {
        "model": step.parameters["model"],
        "package": str(package),
        "package_digest": digest_path(package)[0],
        "base": str(base or ""),
        "base_digest": base_digest,
        **told,
        "deploy": {**step.parameters["deploy"], "monitor": step.parameters.get("monitor") or {}},
        "live_digest": "" if live_digest.startswith(UNKNOWN) else live_digest,
        "passed": bool(step.parameters["passed"]),
        "approval": step.parameters.get("approval", "auto"),  # a pipeline of before has none
        "run": run_id,
    }


def _put_out(step: Step, answer: dict[str, Any]) -> None:
    for name in ("release", "state", "reason"):
        step.set(name, answer[name])
