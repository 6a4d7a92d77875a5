"""A project for a command: the file, `-p` and the gate's rules, with the faults of all three told at once.

Parsers are imported when there is something to parse: `--help` passes through here.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tuneline.cli.packages import without_cache
from tuneline.errors import SpecError

if TYPE_CHECKING:
    from tuneline.client import Client
    from tuneline.spec.project import Loaded

GIT_S = 5.0
"""How long git may take to say where a repository stands."""

overrides_option = click.option(
    "-p",
    "--param",
    "params",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a field, e.g. -p train.r=16; of a pipeline: give a parameter.",
)
project_argument = click.argument("project", type=click.Path(path_type=Path), default=".")


def load_project(path: Path, params: tuple[str, ...]) -> "Loaded":
    """The project with `-p` applied, and its gate's rules read.

    Raises: NotFoundError; SpecError with every fault in `details`; UsageError for a `-p` without `=`.
    """
    from tuneline.spec.project import apply, load  # noqa: PLC0415 - see the module

    overrides = parsed_overrides(params)
    try:
        loaded = load(path)
        loaded = apply(loaded, overrides) if overrides else loaded
    except SpecError as error:
        found = _written_rules(path) if "gate" not in overrides else []
        raise _with(
            error.details or [error.message], _faults(found, None, _has_entry(path)), error.hint
        ) from error
    rules = [(place, str(rule)) for place, rule in _placed(path, loaded)]
    own = bool(loaded.project.evaluate.entry)
    slices, sets = loaded.project.value("evaluate.slices"), list(loaded.project.value("evaluate.sets"))
    faults = _faults(rules, slices, own, sets)
    faults += _safety_faults(path, loaded, own)
    faults += _step_faults(path, loaded)
    if faults:
        raise _with([], faults, "docs/gate.md says what a rule may be.")
    return loaded


def submit(
    client: "Client", loaded: "Loaded", *, no_cache: bool = False, runner: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Start a run of a project; the run. no_cache: run every task. runner: the engine that executes it."""
    spec, parameters, about = compiled(loaded)
    return client.submit(without_cache(spec) if no_cache else spec, parameters, about, runner)


def compiled(loaded: "Loaded") -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """What the server needs of a project: its IR, its parameters (the fields that `-p` changed), where it is
    from."""
    from tuneline.plan.compile import compile_project, input_name  # noqa: PLC0415 - see the module
    from tuneline.types import digest_bytes  # noqa: PLC0415

    spec = compile_project(loaded.project)
    inputs = spec["root"]["inputDefinitions"]["parameters"]
    changed = {
        name: inputs[name]["defaultValue"] for name in map(input_name, loaded.overrides) if name in inputs
    }
    about = {
        "name": loaded.project.name,
        "text": loaded.text,
        "path": str(loaded.folder / loaded.file),
        "digest": digest_bytes(loaded.text.encode()),
        "commit": commit_of(loaded.folder),
    }
    return spec, changed, about


def commit_of(folder: Path) -> str:
    """The commit that a folder's repository stands at, with `+changes` if files of the folder differ from it.

    `+unknown` if git could not say that in time. Empty where there is no repository, or no git.
    """
    import subprocess  # noqa: PLC0415 - see the module

    def git(*words: str) -> str:
        command = ["git", "--no-optional-locks", "-C", str(folder), *words]
        found = subprocess.run(command, capture_output=True, text=True, timeout=GIT_S, check=True)
        return found.stdout.strip()

    try:
        commit = git("rev-parse", "HEAD")
    except (OSError, subprocess.SubprocessError):
        return ""
    try:
        return f"{commit}+changes" if git("status", "--porcelain", "--", ".") else commit
    except (OSError, subprocess.SubprocessError):  # too large to look through
        return f"{commit}+unknown"


def parsed_overrides(params: tuple[str, ...]) -> dict[str, str]:
    """`("train.r=16",)` as a mapping. Raises UsageError."""
    overrides = {}
    for text in params:
        key, given, value = text.partition("=")
        if not given or not key.strip():
            raise click.UsageError(f"-p {text}: write KEY=VALUE, e.g. -p train.r=16.")
        overrides[key.strip()] = value
    return overrides


def _with(faults: list[str], more: list[str], hint: str) -> SpecError:
    every = sorted([*faults, *more], key=_line)
    count = "a fault" if len(every) == 1 else f"{len(every)} faults"
    return SpecError(f"The project has {count}; nothing ran.", hint=hint, details=every)


def _line(fault: str) -> int:
    found = re.match(r"[^:]*:(\d+):", fault)
    return int(found.group(1)) if found else 0


def _faults(
    rules: list[tuple[str, str]], slices: list[str] | None, own: bool, sets: list[str] | None = None
) -> list[str]:
    """One line a fault of `(place, rule)`s, each with its place. own: metrics may be those of own code."""
    from tuneline.plan.rule_names import AnyName  # noqa: PLC0415 - see the module
    from tuneline.plan.rules import check_rules  # noqa: PLC0415

    found = []
    for place, rule in rules:
        for fault in check_rules([rule], slices, AnyName() if own else (), sets):
            found.append(f"{place}{fault.removeprefix('gate[1] ')}")
    return found


def _safety_faults(path: Path, loaded: "Loaded", own: bool) -> list[str]:
    """What is wrong with `evaluate.safety`: its rules are the gate's, so it is told as theirs is."""
    from tuneline.plan.rule_names import AnyName  # noqa: PLC0415 - see the module
    from tuneline.plan.rules import check_rules  # noqa: PLC0415
    from tuneline.plan.safety import safety_rules  # noqa: PLC0415

    rules = safety_rules(loaded.project.value("evaluate.safety"))[:1]  # all alike but for the slice
    place = f"{loaded.file}: evaluate.safety: "
    return [place + fault.partition("`: ")[2] for fault in check_rules(rules, own=AnyName() if own else ())]


def _step_faults(path: Path, loaded: "Loaded") -> list[str]:
    """Steps under `on.kubernetes.steps` that the project's line has not."""
    if not loaded.project.on.written.get("kubernetes", {}).get("steps"):
        return []
    from tuneline.plan.compile import line_of  # noqa: PLC0415 - see the module
    from tuneline.plan.placement import unknown_steps  # noqa: PLC0415

    steps = [step.name for step in line_of(loaded.project)]
    place = f"{loaded.file}:{{line}}: " if (lines := _lines_below(path, "on", "kubernetes", "steps")) else ""
    return [
        place.format(line=lines.get(name, 1))
        + f"`on.kubernetes.steps` has `{name}`, which is no step of this project; "
        + (f"nearest: `{near}`" if near else f"it has {', '.join(steps)}")
        for name, near in unknown_steps(loaded.project.on.written, steps).items()
    ]


def _lines_below(path: Path, *keys: str) -> dict[str, int]:
    """The line of each key in a mapping of the file; empty if it cannot be read or has no such mapping."""
    import yaml  # noqa: PLC0415 - see the module

    from tuneline.spec.project import FILE  # noqa: PLC0415

    file = path / FILE if path.is_dir() else path
    try:
        node = yaml.compose(file.read_text(encoding="utf-8-sig"), Loader=yaml.SafeLoader)
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    for key in keys:
        inside = node.value if isinstance(node, yaml.MappingNode) else []
        node = next((value for name, value in inside if name.value == key), None)
    inside = node.value if isinstance(node, yaml.MappingNode) else []
    return {str(name.value): name.start_mark.line + 1 for name, _ in inside}


def _placed(path: Path, loaded: "Loaded") -> list[tuple[str, str]]:
    rules = [str(rule) for rule in loaded.project.value("gate")]
    written = _written_rules(path)
    if [rule for _, rule in written] == rules:
        return written
    return [("-p gate: " if "gate" in loaded.overrides else "gate: ", rule) for rule in rules]


def _has_entry(path: Path) -> bool:
    """Whether a project file that cannot be read as one names own code that evaluates."""
    from tuneline.spec.project import FILE  # noqa: PLC0415 - see the module

    file = path / FILE if path.is_dir() else path
    try:
        return "entry:" in file.read_text(encoding="utf-8-sig")
    except (OSError, ValueError):
        return False


def _written_rules(path: Path) -> list[tuple[str, str]]:
    """The rules of a project file, each with `file:line: gate: `, as far as it can be read."""
    import yaml  # noqa: PLC0415 - see the module

    from tuneline.spec.project import FILE  # noqa: PLC0415

    file = path / FILE if path.is_dir() else path
    try:
        root = yaml.compose(file.read_text(encoding="utf-8-sig"), Loader=yaml.SafeLoader)
    except (OSError, ValueError, yaml.YAMLError):
        return []
    if not isinstance(root, yaml.MappingNode):
        return []
    for key, value in root.value:
        if key.value == "gate" and isinstance(value, yaml.SequenceNode):
            return [
                (f"{file.name}:{node.start_mark.line + 1}: gate: ", node.value)
                for node in value.value
                if isinstance(node, yaml.ScalarNode) and node.value.strip()
            ]
    return []
