"""The step `live`: which release does the endpoint serve now, and which adapter does training go on from.

Never cached, one of the two steps that talk to the server. Without a server (`TUNELINE_URL` unset, as on some
clusters) nobody knows what is live: the digest then says so, and rules that need the live release refuse.
"""

import os
from pathlib import Path
from typing import Any

from tuneline.client import Client
from tuneline.client.packages import bring
from tuneline.errors import ModelError, NotFoundError, SettingError
from tuneline.serve import vllm_python
from tuneline.settings import Settings
from tuneline.steps.asking import asked, shares_files
from tuneline.steps.gate import UNKNOWN
from tuneline.steps.io import Step

FROM_LIVE = "live"
"""As `init_adapter`: go on from the release that is live; from the base if none is."""
NO_SERVER = "no server: TUNELINE_URL is unset"


def run(step: Step) -> None:
    """Parameters: model, endpoint, init_adapter, and vllm if that serves here. Puts out release, digest, base
    (or ""), package, init.

    Raises: MissingPartError if vLLM is to serve and is not there: better now than after training.
    """
    if "vllm" in step.parameters:
        there = vllm_python.find(Settings.from_env(os.environ).vllm_python)
        step.note(f"vLLM {there.version} serves, from {there.python}")
        step.set("vllm", there.version)
    found = _live(step)
    init = _from_live(step, found) if step.parameters.get("init_adapter") == FROM_LIVE else _init(step)
    step.set("release", found["release"] or "")
    step.set("digest", found["digest"] or "")
    step.set("base", found.get("base") or "")
    _put_out(step, "package", Path(found["package"]) if found["package"] else None)
    if "init" in step.outputs:  # code of one's own goes on from no adapter
        _put_out(step, "init", init)


def _live(step: Step) -> dict[str, Any]:
    """`{"release", "digest", "package", "base"}`, nulls if nothing is live."""
    if not os.environ.get("TUNELINE_URL"):
        step.note(f"{NO_SERVER}; the gate's rules that compare with the live release will refuse")
        step.describe("package", {"unknown": NO_SERVER})
        return {"release": None, "digest": UNKNOWN + NO_SERVER, "package": None}
    endpoint = str(step.parameters["endpoint"])
    try:
        found = asked(os.environ, lambda client: _asked(client, endpoint, step.outputs["package"]))
    except NotFoundError:  # the first release makes the endpoint
        return {"release": None, "digest": None, "package": None}
    if found["release"]:
        step.note(f"{endpoint} serves {found['release']}")
    return found


def _asked(client: Client, endpoint: str, folder: Path) -> dict[str, Any]:
    """What the server says, with the package in `folder` where its own files are not ours."""
    found = client.live(endpoint)
    if found["package"] and not shares_files(client, os.environ):
        bring(client, str(found["digest"]), folder)
        found["package"] = str(folder)
    return found


def _package(client: Client, release: str, beside: Path) -> Path:
    """The package of a release, brought here where the server's own files are not ours."""
    package = client.release(release)["package"]
    if shares_files(client, os.environ):
        return Path(package["uri"])
    bring(client, str(package["digest"]), beside / "release")
    return beside / "release"


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


def _from_live(step: Step, found: dict[str, Any]) -> Path | None:
    """The adapter of the live release; None, and a note that says so, if there is none."""
    if not found["package"]:
        step.note(f"Nothing is live at {step.parameters['endpoint']}: training starts from the base.")
        return None
    step.note(f"Training goes on from {found['release']}.")
    return _adapter(Path(found["package"]), FROM_LIVE)


def _init(step: Step) -> Path | None:
    """The adapter to go on from. `init_adapter`: "", a release `model@version`, or a folder."""
    wanted = str(step.parameters.get("init_adapter", ""))
    if not wanted:
        return None
    folder = Path(wanted).expanduser()
    if not folder.is_dir():
        if "@" not in wanted:
            raise ModelError(
                f"`train.init_adapter` is `{wanted}`, which is neither a folder nor a release.",
                hint="Give an adapter's folder, a release such as movie-reviews@1.0.0, or `live`.",
            )
        if not os.environ.get("TUNELINE_URL"):
            raise SettingError(
                f"`train.init_adapter` is the release `{wanted}`, and there is no server to ask for it.",
                hint="Set TUNELINE_URL, or give the adapter's folder.",
            )
        folder = asked(os.environ, lambda client: _package(client, wanted, step.outputs["init"].parent))
    return _adapter(folder, wanted)


def _adapter(folder: Path, wanted: str) -> Path:
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
