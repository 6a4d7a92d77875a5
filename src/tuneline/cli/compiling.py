"""`pipeline.py:function` becomes IR: KFP's own SDK compiles it, in a child interpreter that has it.

The SDK is never imported here: it pins what others need otherwise, and takes half a second. The child runs
the user's file as an import does. Limits: `if __name__ == "__main__"` is not run.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tuneline.errors import MissingPartError, NotFoundError, SettingError, SpecError
from tuneline.settings import SERVER_ONLY

NO_KFP, NOT_COMPILED, NO_CHOICE = 71, 72, 73
"""Exit statuses of the program below."""
COMPILE_S = 300.0
SDK = "kfp==2.17.0"

PROGRAM = r"""
import importlib.util, os, sys, traceback, warnings
warnings.simplefilter("ignore")
path, wanted, out = sys.argv[1:]
try:
    import kfp
    from kfp import compiler
    from kfp.dsl import base_component, graph_component
except ImportError as error:
    sys.stderr.write(str(error))
    sys.exit(71)
if kfp.__version__.startswith("1."):
    sys.stderr.write("it has kfp " + kfp.__version__)
    sys.exit(71)
name = os.path.splitext(os.path.basename(path))[0]
sys.path.insert(0, os.path.dirname(path))
sys.dont_write_bytecode = True
try:
    found = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    found.loader.exec_module(module)
    parts = {k: v for k, v in vars(module).items() if isinstance(v, base_component.BaseComponent)}
    whole = {k: v for k, v in parts.items() if isinstance(v, graph_component.GraphComponent)}
    functions = {k: getattr(v, "pipeline_func", None) for k, v in whole.items()}
    own = {k: v for k, v in whole.items() if getattr(functions[k], "__module__", name) == name}
    choices = {wanted: parts[wanted]} if wanted in parts else own or whole or parts
    if len(choices) != 1 or (wanted and wanted not in parts):
        sys.stderr.write(" ".join(sorted(own or whole or parts)))
        sys.exit(73)
    compiler.Compiler().compile(next(iter(choices.values())), out)
except Exception:
    traceback.print_exc()
    sys.exit(72)
"""


@dataclass(frozen=True)
class Target:
    """`pipeline.py` or `pipeline.py:function`; function is empty if none is named."""

    path: Path
    function: str = ""


def target_of(text: str) -> Target | None:
    """What `text` names in Python; None if it is no Python file."""
    path, colon, function = text.rpartition(":")
    if colon and path.endswith(".py"):
        return Target(Path(path), function)
    return Target(Path(text)) if text.endswith(".py") else None


def compiled(target: Target, pythons: Sequence[Path], named: bool, env: Mapping[str, str]) -> str:
    """The IR that the first of `pythons` with KFP's SDK makes of a pipeline. named: the user named that one.

    Raises: NotFoundError; MissingPartError, SettingError if none has the SDK; SpecError, with the end of the
    traceback, if it does not compile.
    """
    if not target.path.is_file():
        raise NotFoundError(
            f"There is no file {target.path}.", hint="Give pipeline.py or pipeline.py:function."
        )
    tried = []
    with tempfile.TemporaryDirectory(prefix="tuneline-") as folder:
        out = Path(folder) / "pipeline.yaml"
        for python in pythons:
            status, said = _run(python, target, out, env)
            if status == 0 and out.is_file():
                return out.read_text(encoding="utf-8")
            if status != NO_KFP:
                raise _not_compiled(target, python, status, said)
            tried.append(f"{python}: {said.splitlines()[-1] if said else 'it does not start'}")
    raise _no_sdk(target, tried, named)


def interpreters(chosen: Path | None, home: Path, environ: Mapping[str, str]) -> list[Path]:
    """Where to look for KFP's SDK: the one that was named, alone; else this environment's, the shell's, the
    one that `make` builds beside a clone's, the home's own."""
    if chosen is not None:
        return [chosen.expanduser()]
    active = [Path(environ["VIRTUAL_ENV"]) / "bin" / "python"] if environ.get("VIRTUAL_ENV") else []
    on_path = [
        Path(found)
        for name in ("python3", "python")
        if (found := shutil.which(name, path=environ.get("PATH")))
    ]
    beside = Path(f"{sys.prefix}-kfp") / "bin" / "python"
    of_home = sorted(home.glob("environments/*/bin/python"))
    return list(_distinct([Path(sys.executable), *active, *on_path, beside, *of_home]))


def _distinct(paths: Iterable[Path]) -> Iterable[Path]:
    """Those that are there, each once. Links are not followed: an environment's python is one."""
    seen = set()
    for path in paths:
        place = path.parent.resolve() / path.name.replace("python3", "python")
        if path.exists() and place not in seen:
            seen.add(place)
            yield path


def _run(python: Path, target: Target, out: Path, env: Mapping[str, str]) -> tuple[int, str]:
    clean = {key: value for key, value in env.items() if key != "_KFP_RUNTIME" and key not in SERVER_ONLY}
    command = [str(python), "-c", PROGRAM, str(target.path.resolve()), target.function, str(out)]
    try:
        ended = subprocess.run(
            command,
            env=clean,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMPILE_S,
            check=False,
        )
    except OSError as error:
        return NO_KFP, str(error.strerror or error)
    except subprocess.TimeoutExpired:
        return NOT_COMPILED, f"It took more than {COMPILE_S:.0f} s."
    return ended.returncode, ended.stderr.strip()


def _not_compiled(target: Target, python: Path, status: int, said: str) -> SpecError:
    if status == NO_CHOICE:
        names = said.split()
        if not names:
            what, hint = "it defines no pipeline", "Decorate a function with `@dsl.pipeline`."
        elif target.function:
            what, hint = f"it has no pipeline `{target.function}`", f"It has: {', '.join(names)}."
        else:
            what = f"it defines {len(names)} pipelines"
            hint = f"Name one: {', '.join(f'{target.path}:{name}' for name in names)}."
        return SpecError(f"{target.path} cannot be run: {what}.", hint=hint)
    lines = said.splitlines()
    return SpecError(
        f"{target.path} does not compile: {lines[-1] if lines else f'the interpreter ended with {status}'}",
        hint=f"KFP's SDK in {python} says so; nothing ran.",
        details=_own_part(lines, target),
    )


def _own_part(lines: list[str], target: Target) -> list[str]:
    """The traceback from the user's file on, at most twelve lines."""
    first = next(
        (n for n, line in enumerate(lines) if str(target.path.resolve()) in line), max(0, len(lines) - 12)
    )
    return lines[first:][:12]


def _no_sdk(target: Target, tried: list[str], named: bool) -> MissingPartError | SettingError:
    what = f"{target.path} is compiled by KFP's SDK, and "
    if named:
        return SettingError(
            f"{what}the Python that --kfp-python or TUNELINE_KFP_PYTHON names has none: {tried[0]}.",
            hint=f"Install it there: `pip install {SDK}`.",
        )
    return MissingPartError(
        f"{what}no Python here has it.",
        hint=f"`python3 -m venv kfp && kfp/bin/pip install {SDK}`, then --kfp-python kfp/bin/python;"
        " or compile the pipeline elsewhere, and run the YAML.",
        details=tried,
    )
