"""`python -m tuneline.execute.single FOLDER`: one attempt of one task whose run something else executes.

Reads `launch.json` in the attempt's folder (image, command and arguments with every placeholder resolved, and
what the platform document says), finds what its image means on this machine, and becomes the shim that runs
it. So a pipeline on Airflow's process executor runs its images as the local runner does.

Limits: the caller watches the process and reads what the task left; nothing here is recorded.
"""

import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuneline.errors import TunelineError
from tuneline.execute.environment import of_program, of_tasks
from tuneline.execute.images import Call, MachineImages
from tuneline.execute.process import BOOT, MARK, interpreter
from tuneline.execute.provisions import Asked, provide
from tuneline.settings import Settings
from tuneline_ir import Container

GRACE_S = 5.0
"""How long a task may take to end by itself after it was asked to."""


def main(folder: str, env: Mapping[str, str]) -> int:
    """Become the task. Returns an exit code only if it cannot be started; why is written to `error.json`."""
    path = Path(folder).resolve()
    try:
        words, environment = _prepared(path, Settings.from_env(env), env)
    except TunelineError as error:
        return _refused(path, error.to_json())
    except (ValueError, OSError) as error:
        return _refused(path, {"message": f"The task could not be started: {error}.", "retry": False})
    reading, writing = os.pipe()
    os.write(writing, b"g")  # the shim waits for the word
    os.dup2(reading, 0)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.execve(words[0], words, environment)
    return 1


def _prepared(folder: Path, settings: Settings, env: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """The shim's command and environment. Raises: TunelineError, ValueError, OSError."""
    launch: dict[str, Any] = json.loads((folder / "launch.json").read_text(encoding="utf-8"))
    kept = of_tasks(env, settings, settings.url or "")
    container = Container(launch["image"], tuple(launch["command"]), tuple(launch["args"]), launch["env"])
    image = MachineImages(settings, kept).get(launch["image"])
    faults = image.faults(container) if image is not None else [f"there is no image `{launch['image']}`"]
    if image is None or faults:
        raise ValueError("; ".join(faults))
    name = f"tuneline-{launch['name']}"
    workspace = Path(launch["workspace"]) if launch.get("workspace") else None
    asked = Asked(
        launch["run"], launch["task"], name, folder, launch["platform"], launch["resources"], workspace
    )
    provided = provide(asked, settings)
    call = Call(
        container.command, container.args, launch["executor_input"], folder, name,
        {**provided.env, **container.env}, provided.mounts, provided.options,
    )  # fmt: skip
    program = image.program(call)
    for note in (*program.notes, *provided.notes):
        print(f"This task {note}.", file=sys.stderr, flush=True)  # noqa: T201 - the task's log
    limits = {"timeout_s": 0, "grace_s": GRACE_S}
    task = {**program.to_json(), "boot": BOOT, "before": [], "secrets": (), **limits}
    _write(folder, {**program.files, "task.json": json.dumps(task)})
    own = {key: env[key] for key in ("TUNELINE_TASK_STATE", "TUNELINE_RUN_ID", "TUNELINE_TASK") if key in env}
    python = "" if program.environment else program.python
    words = [*interpreter(bool(program.entry), python), str(folder)]
    environment, _ = of_program(kept, call.env, program)
    return words, {**environment, **own, MARK: str(folder)}


def _write(folder: Path, files: Mapping[str, str]) -> None:
    """A task's command may hold secrets among its parameters: only the user may read it."""
    for name, text in files.items():
        place = folder / name
        place.parent.mkdir(exist_ok=True)
        with open(
            os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8"
        ) as file:
            file.write(text)


def _refused(folder: Path, error: Mapping[str, Any]) -> int:
    (folder / "error.json").write_text(json.dumps(error), encoding="utf-8")
    print(error["message"], file=sys.stderr)  # noqa: T201 - the task's log
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], os.environ))
