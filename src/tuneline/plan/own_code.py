"""A project's own code as KFP lightweight Python components: which files each needs, and its text.

A component carries the files that its entries import, followed through, so that a change elsewhere runs
nothing again; where they import by name at run time, all files of the project. Pure: texts in, texts out.
Limits: a component's text is one argument of a command, of which Linux takes 128 KiB.
"""

import ast
import base64
import json
import posixpath
import re
import shlex
import zlib
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files as resources
from typing import Any

from tuneline.errors import SpecError

IMAGE = "python:3.11"
"""What own code runs in: locally an interpreter at least that new, with the requirements and kfp."""
KFP = "kfp==2.17.0"
MOST_PLAIN = 64 << 10
"""Bytes of files that are embedded as they are, to be read in the pipeline; more are compressed."""
MOST = 120 << 10
"""Bytes of a component's text."""
_AT_RUN_TIME = frozenset(("importlib", "pkgutil", "runpy"))

_INSTALL = """
if ! [ -x "$(command -v pip)" ]; then
    python3 -m ensurepip || python3 -m ensurepip --user || apt-get install python3-pip
fi

PIP_DISABLE_PIP_VERSION_CHECK=1 {installs} && "$0" "$@"
"""
_RUN = """program_path=$(mktemp -d)

printf "%s" "$0" > "$program_path/ephemeral_component.py"
_KFP_RUNTIME=true python3 -m kfp.dsl.executor_main {argument} "$program_path/ephemeral_component.py" "$@"
""".format(argument="--component_module_path")
_TRAIN = """

def train(
    params: dict,
    rows: dsl.Input[dsl.Dataset],
    model: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
):
    found = reporting(run_train, FILES, ENTRIES, params, rows.path, model.path)
    for name, value in found.items():
        metrics.log_metric(name, value)
"""
_SCORE = """

def score(
    params: dict,
    rows: dsl.Input[dsl.Dataset],
    model: dsl.Input[dsl.Model],
    scores: dsl.Output[dsl.Artifact],
    code: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
):
    found = reporting(
        run_score, FILES, ENTRIES, ABOUT, params, rows.path, model.path, scores.path, code.path
    )
    for name, value in found.items():
        metrics.log_metric(name, value)
"""
_SCORE_LIVE = """

def score_live(
    params: dict,
    rows: dsl.Input[dsl.Dataset],
    model: dsl.Input[dsl.Model],
    scores: dsl.Output[dsl.Artifact],
):
    reporting(run_score, FILES, ENTRIES, ABOUT, params, rows.path, model.path, scores.path)
"""


def train_container(files: Mapping[str, str], train: str, requirements: Sequence[str]) -> dict[str, Any]:
    """The container that trains with `train`, an entry. Raises: SpecError if its code is too large."""
    source = _source(closure(files, [train]), [train], {}, _TRAIN)
    return python_container(source, "train", requirements)


def score_container(
    files: Mapping[str, str], entries: Sequence[str], requirements: Sequence[str], *, live: bool
) -> dict[str, Any]:
    """The container that scores a model. entries: of `train`, `evaluate` and `deploy`; "" for none.

    The code of `train` is there too: a pickled model names the modules it was made with.
    """
    train, evaluate, serve = entries
    about = {"entry": serve, "entries": [entry for entry in entries if entry], "image": IMAGE}
    about["requirements"] = list(requirements)
    wanted = [evaluate, serve, train]
    source = _source(
        closure(files, [entry for entry in wanted if entry]), wanted, about, _SCORE_LIVE if live else _SCORE
    )
    return python_container(source, "score_live" if live else "score", requirements)


def python_container(source: str, function: str, requirements: Sequence[str]) -> dict[str, Any]:
    """A lightweight Python component's container, as KFP's compiler writes them."""
    pip = "python3 -m pip install --quiet --no-warn-script-location"
    installs = f"{pip} {_quoted(KFP)} '--no-deps'"
    if requirements:
        installs = f"{pip} {' '.join(map(_quoted, requirements))} && {installs}"
    command = ["sh", "-c", _INSTALL.format(installs=installs), "sh", "-ec", _RUN, source]
    args = ["--executor_input", "{{$}}", "--function_to_execute", function]
    return {"image": IMAGE, "command": command, "args": args}


def closure(files: Mapping[str, str], entries: Sequence[str]) -> dict[str, str]:
    """Of `files` those that the entries import, followed through; all, where a module imports by name."""
    todo = [posixpath.normpath(entry.rpartition(":")[0]) for entry in entries]
    roots = ["", *dict.fromkeys(posixpath.dirname(path) for path in todo)]
    found: set[str] = set()
    while todo:
        path = todo.pop()
        if path in found or path not in files:
            continue
        found.add(path)
        for name in _imports(ast.parse(files[path]), posixpath.dirname(path)):
            if name.partition(".")[0] in _AT_RUN_TIME:
                return dict(sorted(files.items()))
            todo += [candidate for root in roots for candidate in _candidates(root, name)]
    return {path: files[path] for path in sorted(found)}


def _imports(tree: ast.Module, package: str) -> Iterable[str]:
    """Names a module imports, from the project's folder; `from a import b` gives `a` and `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split("/") if package else []
            above = parts[: len(parts) - node.level + 1] if node.level else []
            name = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{name}.{alias.name}".lstrip(".") for alias in node.names)
            if name:
                yield name
        elif isinstance(node, ast.Name) and node.id == "__import__":
            yield "importlib"


def _candidates(root: str, name: str) -> Iterable[str]:
    """Files that importing `name` below `root` would run."""
    parts = [*([root] if root else []), *name.split(".")]
    for upto in range(1, len(parts) + 1):
        place = "/".join(parts[:upto])
        yield from (f"{place}.py", f"{place}/__init__.py")


def _source(files: Mapping[str, str], entries: Sequence[str], about: Mapping[str, Any], function: str) -> str:
    """The text of a component. Raises: SpecError if it is too large."""
    size = sum(len(text.encode()) for text in files.values())
    embedded = dict(files) if size <= MOST_PLAIN else _packed(files)
    source = (
        f"from kfp import dsl\n\n{harness_text()}\n\nFILES = {embedded!r}\nENTRIES = {list(entries)!r}\n"
        f"ABOUT = {dict(about)!r}\n{function}"
    )
    if len(source.encode()) > MOST:
        largest = max(files, key=lambda path: len(files[path]))
        raise SpecError(
            f"The project's own code is too large to be put into a pipeline: {size >> 10} KiB in "
            f"{len(files)} files that `{entries[0] or entries[-1]}` needs.",
            hint=f"The largest is {largest}. Move data out of the code, or publish what is a library.",
        )
    return source


def harness_text() -> str:
    """The text of the harness: two of our modules, in one."""
    texts = [
        resources("tuneline.plan").joinpath(name).read_text(encoding="utf-8")
        for name in ("harness.py", "harness_task.py")
    ]
    return "\n".join(
        re.sub(r"^from tuneline\.[\w.]+ import \([^)]*\)\n", "", text, flags=re.M) for text in texts
    )


def _packed(files: Mapping[str, str]) -> str:
    return base64.b64encode(zlib.compress(json.dumps(files, sort_keys=True).encode(), 9)).decode()


def _quoted(word: str) -> str:
    """A word for the shell, always in quotes."""
    return shlex.quote(word) if "'" in word else f"'{word}'"
