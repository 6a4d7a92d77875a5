"""The step `live`: which release does the endpoint serve now, and which adapter does training go on from.

Never cached, one of the two steps that talk to the server. Without a server (`TUNELINE_URL` unset, as on some
clusters) nobody knows what is live: the digest then says so, and rules that need the live release refuse.
"""

import os
from pathlib import Path
from typing import Any

from tuneline.client import Client
from tuneline.errors import ModelError, NotFoundError, SettingError
from tuneline.steps.gate import UNKNOWN
from tuneline.steps.io import Step

NO_SERVER = "no server: TUNELINE_URL is unset"


def run(step: Step) -> None:
    """Parameters: model, endpoint, init_adapter. Puts out release, digest ("" if nothing is live), package, init."""
    url = os.environ.get("TUNELINE_URL", "")
    client = Client(url) if url else None
    if client is None:
        step.note(f"{NO_SERVER}; the gate's rules that compare with the live release will refuse")
        live: dict[str, Any] = {"release": "", "digest": UNKNOWN + NO_SERVER, "package": None}
        step.describe("package", {"unknown": NO_SERVER})
    else:
        live = _live(client, str(step.parameters["endpoint"]))
    step.set("release", live["release"] or "")
    step.set("digest", live["digest"] or "")
    _put_out(step, "package", Path(live["package"]) if live["package"] else None)
    _put_out(step, "init", _init(str(step.parameters.get("init_adapter", "")), client))
    if live["release"]:
        step.note(f"{step.parameters['endpoint']} serves {live['release']}")


def _live(client: Client, endpoint: str) -> dict[str, Any]:
    try:
        return dict(client.live(endpoint))
    except NotFoundError:  # the first release makes the endpoint
        return {"release": None, "digest": None, "package": None}


def _put_out(step: Step, output: str, path: Path | None) -> None:
    if path is None:
        step.outputs[output].mkdir()
    elif path.is_dir():
        step.point_to(output, path)
    else:
        raise ModelError(
            f"The {output} folder {path} is not there.",
            hint="It was deleted or is on another machine; restore it.",
        )


def _init(wanted: str, client: Client | None) -> Path | None:
    """The folder of the adapter to go on from. `wanted`: "", a release `model@version`, or a folder."""
    if not wanted:
        return None
    folder = Path(wanted).expanduser()
    if not folder.is_dir():
        if "@" not in wanted:
            raise ModelError(
                f"`train.init_adapter` is `{wanted}`, which is neither a folder nor a release.",
                hint="Give a folder with adapter_config.json, or a release such as movie-reviews@1.0.0.",
            )
        if client is None:
            raise SettingError(
                f"`train.init_adapter` is the release `{wanted}`, and there is no server to ask for it.",
                hint="Set TUNELINE_URL, or give the adapter's folder.",
            )
        folder = Path(client.release(wanted)["package"]["uri"])
    found = next((p for p in (folder / "adapter", folder) if (p / "tuneline.json").is_file()), None)
    found = found or next(
        (p for p in (folder / "adapter", folder) if (p / "adapter_config.json").is_file()), None
    )
    if found is None:
        raise ModelError(
            f"`train.init_adapter` is `{wanted}`, and {folder} holds no adapter.",
            hint="An adapter's folder has adapter_config.json and adapter_model.safetensors.",
        )
    return found
