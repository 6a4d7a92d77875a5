"""What the code behind a step is: the digest of every module of ours it can import, and versions of what it
stands on.

A static walk over `import` statements, wherever in a file they stand; nothing is imported. A text that names
one of our modules counts as an import of it, and a package that lists its own modules (`pkgutil`) as one of
all of them: so registries are seen. Limits: files that are no Python, and names put together at run time in
other ways, are not seen.
"""

import ast
import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tuneline.execute.digests import digest_file
from tuneline.types import Digest, digest_json

ROOTS = ("tuneline", "tuneline_ir")
"""Packages of ours."""
ALWAYS = ("torch", "transformers", "peft", "polars")
"""Distributions whose version is in every key."""
IF_IMPORTED = ("xllamacpp", "gguf", "tokenizers", "safetensors", "accelerate")
"""Distributions whose version is in the key of steps that import them."""
_EVERY_STEP = ("tuneline.steps.main", "tuneline.steps.io")


@dataclass(frozen=True)
class _Module:
    """One file as it was read."""

    stamp: tuple[int, int, int]
    digest: Digest
    imports: frozenset[str]
    """Full names of what it imports: ours where they resolve, first names of others."""


class Closures:
    """Digests of closures, remembered as long as no file of them changes. Not thread-safe."""

    def __init__(self, roots: dict[str, Path] | None = None) -> None:
        self._roots = roots or {name: _folder(name) for name in ROOTS}
        self._modules: dict[Path, _Module] = {}

    def digest(self, step: str) -> Digest:
        """The digest of step `step`'s code: it changes when a file in its import closure or a version
        does."""
        modules, others = self.modules(step)
        versions = [*ALWAYS, *(name for name in IF_IMPORTED if name in others)]
        return digest_json(
            {
                "modules": [[name, self._read(modules[name]).digest] for name in sorted(modules)],
                "versions": {name: _version(name) for name in versions},
            }
        )

    def modules(self, step: str) -> tuple[dict[str, Path], set[str]]:
        """Our modules that the step can import, with their files, and first names of other packages."""
        found: dict[str, Path] = {}
        others: set[str] = set()
        todo = [*_EVERY_STEP, f"tuneline.steps.{step}"]
        while todo:
            name = todo.pop()
            path = self._path(name)
            if name in found or path is None:
                continue
            found[name] = path
            todo.append(name.rpartition(".")[0])
            module = self._read(path)
            ours = {imported for imported in module.imports if imported.partition(".")[0] in self._roots}
            todo.extend(ours)
            others |= {imported.partition(".")[0] for imported in module.imports - ours}
            if "pkgutil" in module.imports and path.name == "__init__.py":
                todo.extend(f"{name}.{file.stem}" for file in path.parent.glob("*.py") if file != path)
        return found, others

    def _path(self, name: str) -> Path | None:
        first, *rest = name.split(".")
        if first not in self._roots:
            return None
        base = self._roots[first].joinpath(*rest)
        choices = (base / "__init__.py", base.with_name(base.name + ".py"))
        return next((path for path in choices if path.is_file()), None)

    def _read(self, path: Path) -> _Module:
        status = path.stat()
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        known = self._modules.get(path)
        if known is None or known.stamp != stamp:
            digest, _ = digest_file(path)
            known = _Module(stamp, digest, frozenset(_imports(ast.parse(path.read_bytes()))))
            self._modules[path] = known
        return known


def _imports(tree: ast.Module) -> Iterable[str]:
    """Names a module imports, or may: `from a import b` gives `a` and `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            first, dot, _ = node.value[:200].partition(".")
            if dot and first in ROOTS and node.value.replace(".", "").replace("_", "").isalnum():
                yield node.value.rstrip(".")


def _folder(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(name)
    return Path(spec.origin).parent


def _version(distribution: str) -> str:
    from importlib import metadata  # noqa: PLC0415 - 10 ms that a task of another image need not pay

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""
