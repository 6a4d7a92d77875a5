"""Types the commands of docs/tutorial.md and writes down what they print.

    python docs/record_tutorial.py FOLDER

FOLDER is made, as the copy of the example that the page speaks of; its home is FOLDER/home, its server's port
the first free one. Every line `$ ...` in a block of the kind `console` is typed into one bash, in order, and
the lines below it are replaced by what it printed. A comment above a block, `<!-- keep: REGEX || REGEX -->`,
keeps only lines that hold one of them, each once; `...` stands for the others. Lines of progress are never
kept. Below `<!-- durations -->` there is a table of how long each chapter took.

With the real model it takes about half an hour on two idle cores. It stops at the first command that ends
with another exit code than 0, or than the one in `$ ...  # exits with 3`.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "tutorial.md"
EXAMPLE = ROOT / "examples" / "review-releases"
PROGRESS = re.compile(r"^[\w-]+: (\d+ of \d+|started|\d+ %)")
EXITS = re.compile(r"\s+# exits with (\d+)$")
KEEP = re.compile(r"^<!-- keep: (.*) -->$")
END = "-- end of the output --"
DURATIONS = "<!-- durations -->"

Typed = Callable[[str], tuple[int, str]]
"""Types a command; its exit code and what it printed."""


class Shell:
    """One bash, to which commands are typed."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        self._bash = subprocess.Popen(["bash"], cwd=folder, env=env, text=True, bufsize=1, **pipes)

    def type(self, command: str) -> tuple[int, str]:
        """Its exit code and output, standard error with it."""
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        self._bash.stdin.write(f'{command}\n__ended=$?; echo; echo "{END} $__ended"; (exit $__ended)\n')
        lines: list[str] = []
        for line in self._bash.stdout:
            if line.startswith(END):
                return int(line.removeprefix(END)), "".join(lines)
            lines.append(line)
        raise SystemExit(f"bash ended while it did: {command}\n{''.join(lines)}")

    def close(self) -> None:
        """End it."""
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        self._bash.stdin.close()
        self._bash.wait()
        self._bash.stdout.close()


def recorded(page: str, typed: Typed, clock: Callable[[], float] = time.monotonic) -> str:
    """The page with what its commands print now. Raises SystemExit at a command that ends otherwise."""
    took: dict[str, float] = {}
    found: list[str] = []
    chapter, keep, inside = "", "", False
    for line in page.splitlines():
        if line.startswith("## "):
            chapter = line.removeprefix("## ")
        if not line.startswith("$ ") and inside and line != "```":
            continue  # what an earlier recording printed
        found.append(line)
        if line == "```console":
            inside = True
        elif inside and line == "```":
            inside, keep = False, ""
        elif inside:
            begun = clock()
            found += [*shown(run(line, typed), keep)]
            took[chapter] = took.get(chapter, 0.0) + clock() - begun
        elif said := KEEP.match(line):
            keep = said[1]
    return with_durations("\n".join(found) + "\n", took)


def run(line: str, typed: Typed) -> str:
    """Type what stands after `$ `; its output."""
    command, wanted = line.removeprefix("$ "), 0
    if said := EXITS.search(command):
        command, wanted = command[: said.start()], int(said[1])
    code, output = typed(command)
    if code != wanted:
        raise SystemExit(f"It ended with {code}, not {wanted}: {command}\n{output}")
    return output


def shown(output: str, keep: str) -> Iterator[str]:
    """The lines to show. keep: expressions, joined by ` || `; empty keeps all."""
    wanted = [re.compile(each) for each in keep.split(" || ")] if keep else []
    left_out, told = False, set[str]()
    if not output.strip():
        return
    for line in (each.rpartition("\r")[2].rstrip() for each in output.strip().split("\n")):
        if PROGRESS.match(line) or (wanted and line in told):
            continue
        if wanted and not any(each.search(line) for each in wanted):
            left_out = left_out or bool(line)
            continue
        if left_out:
            yield "..."
        left_out = False
        told.add(line)
        if line or not wanted:
            yield line
    if left_out:
        yield "..."


def with_durations(page: str, took: dict[str, float]) -> str:
    """The page with its table of durations; as it is without the mark."""
    head, mark, rest = page.partition(DURATIONS + "\n")
    if not mark:
        return page
    after = re.sub(r"\A(\|.*\n)*", "", rest)
    rows = "".join(f"| {name} | {said(seconds)} |\n" for name, seconds in took.items() if name)
    return f"{head}{mark}| chapter | about |\n|---|---|\n{rows}{after}"


def said(seconds: float) -> str:
    """A duration as one says it."""
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{max(1, round(seconds, -1)):.0f} s"


def main() -> None:
    """Record the page anew."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("folder", type=Path)
    folder = options.parse_args().folder.absolute()
    shutil.copytree(EXAMPLE, folder)
    names = [name for name in os.environ if name.startswith("TUNELINE_")]
    env = {name: value for name, value in os.environ.items() if name not in names}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    shell = Shell(folder, {**env, "TUNELINE_HOME": str(folder / "home")})

    def typed(command: str) -> tuple[int, str]:
        sys.stderr.write(f"{time.strftime('%H:%M:%S')}  $ {command}\n")
        code, output = shell.type(command)
        return code, output.replace(str(folder / "home"), "~/.tuneline").replace(str(folder), "~/reviews")

    try:
        PAGE.write_text(recorded(PAGE.read_text(encoding="utf-8"), typed), encoding="utf-8")
    finally:
        shell.type("tuneline down")
        shell.close()


if __name__ == "__main__":
    main()
