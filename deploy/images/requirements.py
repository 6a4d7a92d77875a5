"""Prints what tuneline's packages need: `python3 requirements.py pyproject.toml [EXTRA ...]`.

An image installs this first, in a layer of its own, and our code in a later one: a new version of tuneline
is then a layer of a few megabytes. Only the standard library is there when it runs.
"""

import re
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

OURS = re.compile(r"tuneline\b|tuneline-")


def requirements(project: Path, extras: Sequence[str]) -> list[str]:
    """Requirements of a project and of its extras but ours. Raises SystemExit for an unknown extra."""
    body = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    known = body.get("optional-dependencies", {})
    unknown = sorted(set(extras) - set(known))
    if unknown:
        raise SystemExit(f"{project} has no extra {', '.join(unknown)}; it has {', '.join(known)}.")
    wanted = [*body.get("dependencies", []), *(line for extra in extras for line in known[extra])]
    return list(dict.fromkeys(line for line in wanted if not OURS.match(line)))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit("Usage: python3 requirements.py pyproject.toml [EXTRA ...]")
    sys.stdout.write("\n".join(requirements(Path(sys.argv[1]), sys.argv[2:])) + "\n")
