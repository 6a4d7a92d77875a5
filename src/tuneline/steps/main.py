"""`tuneline step NAME --executor-input JSON`: finds the step, runs it, turns an error into error.json."""

import importlib
import json
import os
import signal
import sys
import traceback
from pathlib import Path

from tuneline.errors import InternalError, ResourceError, TunelineError
from tuneline.steps.io import Step


def main(name: str, executor_input: str) -> int:
    """Run step `name`, i.e. `tuneline.steps.<name>.run(step)`; an error is written beside the outputs.

    Returns the exit code.
    """
    step = Step.parse(executor_input, os.environ)
    heed_sigterm(os.getpid())
    try:
        importlib.import_module(f"tuneline.steps.{name}").run(step)
        step.finish()
    except TunelineError as error:
        return _fail(step, error)
    except OSError as error:
        if error.errno not in (28, 122):  # ENOSPC, EDQUOT
            traceback.print_exc()
        return _fail(step, _from_os(error))
    except MemoryError:
        return _fail(
            step,
            ResourceError(f"Step `{name}` ran out of memory.", hint="Give it more, or use smaller batches."),
        )
    except Exception as error:  # the last seam: anything else is our fault and says so
        traceback.print_exc()
        return _fail(
            step,
            InternalError(
                f"Step `{name}` broke: {type(error).__name__}: {error}", hint="See the task's log."
            ),
        )
    return 0


def heed_sigterm(pid: int) -> None:
    """End at once when asked to, also as the first process of a container: the kernel spares those that do
    not say what they do on SIGTERM, and a pod's time to save what it has would pass."""
    if pid == 1:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))


def _from_os(error: OSError) -> TunelineError:
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in (28, 122):
        return ResourceError(
            f"The disk is full{where}: {error.strerror}.",
            hint="Free some space, then `tuneline runs retry`: what is finished stays finished.",
        )
    return InternalError(f"The system refused{where}: {error.strerror or error}.", hint="See the task's log.")


def _fail(step: Step, error: TunelineError) -> int:
    print(f"{error.message}\n{error.hint}".strip(), *error.details, sep="\n", file=sys.stderr)  # noqa: T201
    try:
        _write_error(step.output_file.parent / "error.json", error)
    except OSError as full:  # the disk may be what failed; the log then says it
        print(f"error.json could not be written: {full}", file=sys.stderr)  # noqa: T201
    return error.exit_code


def _write_error(path: Path, error: TunelineError) -> None:
    scratch = path.with_suffix(".tmp")
    scratch.write_text(json.dumps(error.to_json()), encoding="utf-8")
    scratch.replace(path)
