"""The guard of a vLLM: `python -m tuneline.serve.vllm_child PYTHON WORDS...` runs `PYTHON WORDS...` and ends
with it.

vLLM is several processes, and one that loses its first goes on holding the memory of a GPU. The guard leads a
session of their own. Its standard input closes when whoever started it is gone, however that went, even by
SIGKILL: then all of the session ends at once; so it does when vLLM's first process ends.
"""

import os
import signal
import subprocess
import sys
import threading

from tuneline.serve.vllm_python import environment


def main(command: list[str]) -> int:
    """Run `command` until it or standard input ends; nothing of this session is left then."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment(os.environ))
    threading.Thread(target=_follow_stdin, daemon=True).start()
    code = child.wait()
    print(f"vLLM ended with {_said(code)}.", file=sys.stderr, flush=True)  # noqa: T201 - the runtime's log
    _end_all()
    return 1


def _follow_stdin() -> None:
    while os.read(0, 4096):
        pass
    _end_all()


def _end_all() -> None:
    """SIGKILL to the session's group, this process too. vLLM has nothing to save."""
    os.killpg(0, signal.SIGKILL)


def _said(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
