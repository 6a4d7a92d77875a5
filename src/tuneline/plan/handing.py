"""A pipeline as another engine is given it: with an image it can pull, and what steps need to report home.

Pure. Our own steps alone are touched: the image `tuneline` becomes the one that is named, and the steps that
talk to the server are told where it is, which run of its record they belong to, and to take its token from
the secret `tuneline`, key `token`, of the namespace they run in. Nothing secret stands in the pipeline.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from tuneline.plan.compile import IMAGE
from tuneline_ir import documents

CALLING = ("live", "propose", "app")
"""Steps that call the server."""
SECRET, KEY = "tuneline", "token"
RECORD_RUN = "TUNELINE_RECORD_RUN"
"""Which run of the server's record a step belongs to, where the engine's own id is another."""
PATIENCE_S = 600
"""How long a step there waits for a server that does not answer: as long as a restart may take."""


def handed_over(ir: Mapping[str, Any], run: str, server: str, image: str) -> dict[str, Any]:
    """The documents that the engine is given: `{"pipeline_spec", "platform_spec"}`, or the spec alone.

    run: its id in our record. server: our URL as the engine's tasks reach it; empty: they do not, and
    `propose` leaves a bundle. image: in place of `tuneline`; empty: that stays.
    """
    spec, platform = (deepcopy(dict(part)) for part in documents(ir))
    executors = (spec.get("deploymentSpec") or {}).get("executors") or {}
    calling = []
    for label, executor in executors.items():
        container = executor.get("container")
        if not container or container.get("image") != IMAGE:
            continue
        container["image"] = image or IMAGE
        if server and _step(container) in CALLING:
            calling.append(label)
            told = {
                "TUNELINE_URL": server,
                "TUNELINE_PATIENCE_S": str(PATIENCE_S),
                RECORD_RUN: run,
            }
            container["env"] = [*container.get("env", ()), *_listed(told)]
    for label in calling:
        _with_secret(platform, label)
    return {"pipeline_spec": spec, "platform_spec": platform} if platform else spec


def _step(container: Mapping[str, Any]) -> str:
    command = list(container.get("command") or ())
    return str(command[2]) if command[:2] == ["tuneline", "step"] and len(command) > 2 else ""


def _listed(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in values.items()]


def _with_secret(platform: dict[str, Any], label: str) -> None:
    cluster = platform.setdefault("platforms", {}).setdefault("kubernetes", {})
    executors = cluster.setdefault("deploymentSpec", {}).setdefault("executors", {})
    secrets = executors.setdefault(label, {}).setdefault("secretAsEnv", [])
    secrets.append(
        {
            "secretName": SECRET,
            "secretNameParameter": {"runtimeValue": {"constant": SECRET}},
            "keyToEnv": [{"secretKey": KEY, "envVar": "TUNELINE_TOKEN"}],
            "optional": True,
        }
    )
