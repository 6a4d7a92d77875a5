"""An interpreter that has a vLLM, by all that can be asked: its distribution, and a program that takes its
command line (`tests/vllm_program.py`). For machines without vLLM."""

import os
import shlex
import sys
from pathlib import Path


def home(folder: Path, version: str = "0.32.1", name: str = "vllm") -> Path:
    """An interpreter under `folder` in which vLLM of that version is, by all that can be asked."""
    packages = folder / "packages"
    (packages / "vllm/entrypoints/openai").mkdir(parents=True)
    for part in ("vllm", "vllm/entrypoints", "vllm/entrypoints/openai"):
        (packages / part / "__init__.py").touch()
    tests = Path(__file__).parents[1]
    (packages / "vllm/entrypoints/openai/api_server.py").write_text(
        "from tests.vllm_program import main\n\nmain()\n"
    )
    about = packages / f"{name.replace('-', '_')}-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (about / "top_level.txt").write_text("vllm\n")
    paths = os.pathsep.join([str(packages), str(tests), *filter(None, sys.path)])
    python = folder / "python"
    ours = shlex.quote(sys.executable)
    python.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(paths)} exec {ours} "$@"\n')
    python.chmod(0o755)
    return python
