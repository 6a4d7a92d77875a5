"""The step `app`: asks the server to run a web app at an endpoint, and waits until it answers there.

A task ends but an app stays: what this leaves behind is desired state, which the server's controller keeps.
Never worth a cache's hit: switch caching off for its task.
"""

import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from tuneline.client import Client
from tuneline.errors import ModelError, SettingError, TransientError
from tuneline.execute.files import digest_path
from tuneline.steps.asking import asked
from tuneline.steps.io import Step

POLL_S = 0.2
WAIT_S = 150.0
"""How long an app may take to be live, unless `wait_s` says otherwise; 0 does not wait."""
OPTIONS = ("entry", "command", "env", "uses", "probe", "port", "keep_s")


def run(step: Step) -> None:
    """Parameters: name, and any of `OPTIONS` and wait_s; input `source`. Puts out url, release and reason.

    Raises: SettingError without a server; ModelError, with the app's own reason, if it does not come up;
    TransientError if it is not up in time.
    """
    if not os.environ.get("TUNELINE_URL"):
        raise SettingError(
            "There is no server to run an app: TUNELINE_URL is unset.",
            hint="Run the pipeline on a tuneline server, or set TUNELINE_URL to one.",
        )
    name, wanted = str(step.parameters["name"]), body(step, os.environ.get("TUNELINE_RUN_ID", ""))
    answer = asked(os.environ, lambda client: client.put_app(name, wanted))
    step.note(f"{answer['release']} is wanted at endpoint {name}: {answer['reason']}")
    url = _until_live(name, answer["release"], float(step.parameters.get("wait_s", WAIT_S))) or answer["url"]
    for key, value in {"url": url or "", "release": answer["release"], "reason": answer["reason"]}.items():
        step.set(key, value)
    if url:
        step.note(f"{answer['release']} answers at {url}")


def body(step: Step, run_id: str) -> dict[str, Any]:
    """What is asked, as `PUT /api/v1/endpoints/{name}/app` takes it."""
    source = step.inputs["source"]
    given = {name: step.parameters[name] for name in OPTIONS if step.parameters.get(name) not in (None, "")}
    if not given.get("command"):
        given.setdefault("entry", "app.py:app")
    return {**given, "source": str(source), "digest": digest_path(source)[0], "run": run_id}


def _until_live(
    name: str, release: str, wait_s: float, sleep: Callable[[float], None] = time.sleep
) -> str | None:
    """Where it answers; None if `wait_s` is 0."""

    def look(client: Client) -> Mapping[str, Any]:
        return client.endpoint(name)

    deadline = time.monotonic() + wait_s
    while wait_s:
        seen = asked(os.environ, look)
        if seen["desired"] != release:
            raise ModelError(
                f"While {release} started, {seen['desired'] or 'nothing'} was wanted at endpoint {name}.",
                hint="Whoever asked last decides; `tuneline ledger list` shows who that was.",
            )
        if seen["phase"] == "live" and seen["live"] == release:
            return str(seen["url"])
        if seen["phase"] == "failed":
            raise ModelError(
                f"{release} does not run: {seen['message']}",
                hint="Correct the app and run the pipeline again.",
            )
        if time.monotonic() > deadline:
            raise TransientError(f"{release} is not live after {wait_s:g} s: {seen['message']}")
        sleep(POLL_S)
    return None
