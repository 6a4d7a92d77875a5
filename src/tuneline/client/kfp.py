"""What commands ask of the server's KFP API: runs of any pipeline in experiments, and what becomes of them.

The same requests that KFP's own SDK makes. Errors are ours, from the status that KFP's have.
"""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from tuneline.client.http import Client

BASE = "/apis/v2beta1"


def start_run(
    client: Client,
    ir: Mapping[str, Any],
    parameters: Mapping[str, Any],
    *,
    name: str,
    experiment: str | None = None,
    images: str | None = None,
) -> str:
    """Start a run of `ir`; its id. experiment: by name, made if there is none; None: the default one.

    images: `host` or `containers`, what images mean to this run; None: as the server has it.

    Raises: SpecError, ConflictError; MissingPartError for what this machine cannot run.
    """
    body: dict[str, Any] = {
        "display_name": name,
        "pipeline_spec": ir,
        "runtime_config": {"parameters": parameters},
    }
    if experiment:
        body["experiment_id"] = experiment_id(client, experiment)
    if images:
        body["plugins_input"] = {"tuneline": {"images": images}}
    return str(client.call("POST", f"{BASE}/runs", body, timeout_s=120.0)["run_id"])


def experiment_id(client: Client, name: str) -> str:
    """The id of the experiment of this name, which is made if there is none."""
    equal = {"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]}
    found = client.call("GET", f"{BASE}/experiments", query={"filter": json.dumps(equal)})
    for experiment in found.get("experiments", ()):
        return str(experiment["experiment_id"])
    return str(client.call("POST", f"{BASE}/experiments", {"display_name": name})["experiment_id"])


def clone(client: Client, run: str, parameters: Mapping[str, Any], name: str | None = None) -> str:
    """Start a new run of the same pipeline, with the same parameters but for those given; its id."""
    body: dict[str, Any] = {"runtime_config": {"parameters": parameters}} if parameters else {}
    body |= {"display_name": name} if name else {}
    return str(
        client.call("POST", f"{BASE}/runs/{quote(run, safe='')}:clone", body, timeout_s=120.0)["run_id"]
    )


def archive(client: Client, run: str) -> None:
    """Take a run out of the usual list. Raises NotFoundError."""
    client.call("POST", f"{BASE}/runs/{quote(run, safe='')}:archive")


def unarchive(client: Client, run: str) -> None:
    """Bring an archived run back into the list. Raises NotFoundError."""
    client.call("POST", f"{BASE}/runs/{quote(run, safe='')}:unarchive")


def delete(client: Client, run: str) -> None:
    """Forget a run, with its tasks and files. Raises NotFoundError."""
    client.call("DELETE", f"{BASE}/runs/{quote(run, safe='')}")
