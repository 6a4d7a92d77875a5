"""A runtime as a child process, as long as somebody needs it: what `verify` proves, exactly as deployed."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tuneline.errors import ModelError


@contextmanager
def running(arguments: Sequence[str | Path]) -> Iterator[str]:
    """Start `python -m tuneline.serve.runtime` with `arguments`, on a free port; gives its URL once it is
    ready.

    It ends with the block, and with this process however that ends.
    Raises: ModelError with the last lines it wrote if it ends before it is ready.
    """
    command = [
        sys.executable,
        "-m",
        "tuneline.serve.runtime",
        "--port",
        "0",
        "--follow-stdin",
        *map(str, arguments),
    ]
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        try:
            assert child.stdout is not None
            yield _ready(child.stdout, errors)
        finally:
            _end(child)


def _ready(said: IO[bytes], errors: IO[bytes]) -> str:
    url = ""
    for line in said:
        words = line.decode().split()
        if words[:1] == ["listening"]:
            url = f"http://{words[1]}:{words[2]}"
        if words == ["ready"]:
            return url
    errors.seek(0)
    tail = errors.read().decode(errors="replace").strip().splitlines()[-12:]
    raise ModelError("The runtime did not start.", hint="What it wrote is above.", details=tail)


def _end(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.close()
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    child.stdout.close()
