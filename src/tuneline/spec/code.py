"""A project's own code, read from its folder where one of the keys `entry` names some.

Every `.py` file below the folder, path to text, within bounds; folders of environments and hidden ones are
passed over. Nothing is imported or run: an entry's function is looked for in the file's syntax tree.
"""

import ast
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from tuneline.spec.faults import Faults, nearest
from tuneline.spec.reading import Reading
from tuneline.spec.sections import Project

MAX_FILES = 400
MAX_BYTES = 2 << 20
"""Of all files together."""
ENTRIES = ("train.entry", "evaluate.entry", "deploy.entry")
_PASSED_OVER = frozenset(("__pycache__", "node_modules", "site-packages", "venv", "build", "dist"))


def split_entry(entry: str) -> tuple[str, str]:
    """File and function of `train.py:main`; the path as the files are listed."""
    path, _, function = entry.rpartition(":")
    return os.path.normpath(path), function


def read_code(folder: Path, project: Project, reading: Reading, faults: Faults) -> Mapping[str, str]:
    """The project's Python files, if an entry names one; what is wrong with entries or files is a fault."""
    written = {path: str(project.value(path)) for path in ENTRIES if project.value(path)}
    if not written:
        return {}
    first = reading.nodes.get(next(iter(written)), 0)
    files: dict[str, str] = {}
    size = 0
    for path in _python_files(folder):
        name = path.relative_to(folder).as_posix()
        try:
            files[name] = path.read_bytes().decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            faults.note(first, f"{name} cannot be read: {error}")
            continue
        size += len(files[name])
        if len(files) > MAX_FILES or size > MAX_BYTES:
            faults.note(first, _too_much(folder))
            return files
    for key, entry in written.items():
        _check_entry(key, entry, files, reading, faults)
    return files


def _python_files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".")
            and name not in _PASSED_OVER
            and not Path(place, name, "pyvenv.cfg").exists()
        )
        yield from (Path(place, name) for name in sorted(names) if name.endswith(".py"))


def _too_much(folder: Path) -> str:
    return (
        f"{folder} has more than {MAX_FILES} Python files or {MAX_BYTES >> 20} MiB of them, which is no "
        "project's own code; give the project a folder of its own"
    )


def _check_entry(path: str, entry: str, files: Mapping[str, str], reading: Reading, faults: Faults) -> None:
    where = reading.nodes.get(path, 0)
    file, function = split_entry(entry)
    if file not in files:
        faults.note(where, f"`{path}`: there is no file {file} in the project's folder{nearest(file, files)}")
        return
    try:
        found = _names(ast.parse(files[file]))
    except (SyntaxError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) else ""
        faults.note(where, f"`{path}`: {file}{line} is no valid Python: {getattr(error, 'msg', error)}")
        return
    if function not in found:
        faults.note(where, f"`{path}`: {file} has no `{function}`{nearest(function, found)}")


def _names(tree: ast.Module) -> set[str]:
    """Names a module has at its top level, those inside `if` and `try` included."""
    found: set[str] = set()
    todo: list[ast.stmt] = list(tree.body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
        else:
            todo += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
    return found
