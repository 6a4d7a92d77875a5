"""The one place where an error becomes words on stderr and an exit code.

A TunelineError is told as it is; what click raises, as click tells it; anything else is a fault of ours: one
line, with its traceback in a file (and on stderr with `TUNELINE_DEBUG=1`).
"""

import contextlib
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import click

from tuneline.cli import exits
from tuneline.errors import InternalError, ResourceError, TunelineError

LOG = "command-error.log"
"""In the home: tracebacks of commands that broke."""


class ReaderGone(Exception):
    """Whoever read stdout closed it. Not an OSError: click ends those with exit code 1 before we see them."""


def guarded(command: Callable[[], object]) -> int:
    """Run a command; its exit code. Every error is told on stderr."""
    try:
        code = command()
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return exits.INTERRUPTED
    except (ReaderGone, BrokenPipeError):  # `tuneline runs list | head`: the reader has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.OK
    except TunelineError as error:
        show_error(error)
        return error.exit_code
    except OSError as error:
        show_error(_refused(error))
        return exits.FAILURE
    except Exception as error:  # the last seam: a fault of ours, told as one
        show_error(_broken(error))
        return exits.FAILURE
    return code if isinstance(code, int) else exits.OK


def show_error(error: TunelineError) -> None:
    """What happened, every single fault, and what to do next, on stderr."""
    click.echo(f"error: {error.message}", err=True)
    for line in error.details:
        click.echo(f"  {line}", err=True)
    if error.hint:
        click.echo(f"hint: {error.hint}", err=True)


def _refused(error: OSError) -> ResourceError:
    _keep_traceback()
    where = f" ({error.filename})" if error.filename else ""
    return ResourceError(
        f"The system refused{where}: {error.strerror or error}.",
        hint="Check the permissions and the free space there.",
    )


def _broken(error: Exception) -> InternalError:
    log = _keep_traceback()
    where = f"The traceback is in {log}. " if log else ""
    return InternalError(
        f"tuneline broke: {type(error).__name__}: {error}",
        hint=f"This is a fault of tuneline, not yours. {where}TUNELINE_DEBUG=1 shows it here.",
    )


def _keep_traceback() -> Path | None:
    """Add the current traceback to the home's log; None if that cannot be written."""
    if os.environ.get("TUNELINE_DEBUG"):
        traceback.print_exc()
    home = Path(os.environ.get("TUNELINE_HOME") or Path.home() / ".tuneline").expanduser()
    with contextlib.suppress(OSError):
        home.mkdir(parents=True, exist_ok=True)
        log = home / LOG
        with log.open("a", encoding="utf-8") as out:
            out.write(f"tuneline {' '.join(sys.argv[1:2])}\n{traceback.format_exc()}\n")
        return log
    return None
