"""Python components as Kubeflow's SDK compiles them: a shell preamble that installs packages, a shell program
that writes the component's source to a file, and the SDK's executor that runs it. Read strictly, from text to
facts; what is not exactly of that form is no such component, and runs as it is written.

Forms of all SDKs from 2.0 on, and of v1's functions in reusable components: `packages_to_install`,
`pip_index_urls`, `pip_trusted_hosts`, `install_kfp_package=False`, `kfp_package_path`, `use_venv`, embedded
artifacts and notebooks.
"""

import functools
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

_ENSURE_PIP = (
    'if ! [ -x "$(command -v pip)" ]; then python3 -m ensurepip || python3 -m ensurepip --user'
    " || apt-get install python3-pip fi"
)
_INSTALL = re.compile(rf"{re.escape(_ENSURE_PIP)} PIP_DISABLE_PIP_VERSION_CHECK=1 (.*) && \"\$0\" \"\$@\"")
_VENV = (
    'export PIP_DISABLE_PIP_VERSION_CHECK=1 tmp=$(mktemp -d) python3 -m venv "$tmp/venv"'
    ' --system-site-packages . "$tmp/venv/bin/activate"'
)
_PROGRAM = re.compile(
    r'program_path=\$\(mktemp -d\) printf "%s" "\$0" > "\$program_path/ephemeral_component\.py"'
    r" (?:_KFP_RUNTIME=true )?python3 -m kfp\.(?:dsl|components)\.executor_main"
    r' --component_module_path "\$program_path/ephemeral_component\.py" "\$@"'
)
# What SDK v1 made of a function, as it stands in reusable components until today.
_V1_INSTALL = re.compile(
    r"\((PIP_DISABLE_PIP_VERSION_CHECK=1 python3 -m pip install .*) \|\| \1 --user\) && \"\$0\" \"\$@\""
)
_V1_PROGRAM = re.compile(
    r'program_path=\$\(mktemp\) printf "%s" "\$0" > "\$program_path" python3 -u "\$program_path" "\$@"'
)
_PIP = ["python3", "-m", "pip", "install"]
_QUIET = ("--quiet", "--no-warn-script-location")
_OPERATORS = (";", "|", "||", "&", ">", ">>", "<", "(", ")")
_VALUED = ("--index-url", "--extra-index-url", "--trusted-host")
EXECUTOR = "kfp.dsl.executor_main"


@dataclass(frozen=True)
class Install:
    """One `pip install`."""

    requirements: tuple[str, ...]
    """As pip is given them."""
    options: tuple[str, ...] = ()
    """Of pip, values behind their names: where packages come from and whatever else the user gave."""
    no_deps: bool = False
    plain: bool = True
    """Whether the options only say where packages come from: one that is there need not be fetched."""


@dataclass(frozen=True)
class Lightweight:
    """A component whose source is in its command."""

    source: str
    args: tuple[str, ...]
    """Of the executor, or of the source itself."""
    installs: tuple[Install, ...] = ()
    """In order."""
    script: bool = False
    """Whether the source is a program that runs by itself, as SDK v1 had it."""


def read(words: Sequence[str]) -> Lightweight | None:
    """The Python component in a command and its arguments; None if it is anything else."""
    installs: tuple[Install, ...] | None = ()
    if list(words[:2]) == ["sh", "-c"] and len(words) > 2:
        installs, words = _preamble(words[2]), words[3:]
    if installs is None or list(words[:2]) != ["sh", "-ec"] or len(words) < 4:
        return None
    program = _plain(words[2])
    script = _V1_PROGRAM.fullmatch(program) is not None
    if not script and not _PROGRAM.fullmatch(program):
        return None
    return Lightweight(words[3], tuple(words[4:]), installs, script)


def is_containerized(words: Sequence[str]) -> bool:
    """Whether a component's source is in its image, where `kfp component build` put it."""
    return list(words[:3]) == ["python3", "-m", EXECUTOR] and "--component_module_path" not in words


@functools.lru_cache(64)
def _plain(script: str) -> str:
    """A script with every run of blanks, line ends and continuations as one blank."""
    return " ".join(script.replace("\\\n", " ").split())


@functools.lru_cache(256)
def _preamble(script: str) -> tuple[Install, ...] | None:
    """What a preamble installs; None if it is no preamble of the SDK."""
    found, v1 = _INSTALL.fullmatch(_plain(script)), _V1_INSTALL.fullmatch(_plain(script))
    if found is not None:
        # Its own environment, made in a temporary folder, is what the packages get anyway.
        body = found.group(1).replace(_VENV, "")
    elif v1 is not None:
        body = v1.group(1).removeprefix("PIP_DISABLE_PIP_VERSION_CHECK=1 ")
    else:
        return None
    if any(sign in body for sign in "$`\\"):  # a shell would make something else of it
        return None
    try:
        reader = shlex.shlex(body, posix=True, punctuation_chars=True)
        reader.commenters, reader.whitespace_split = "", True
        tokens = list(reader)
    except ValueError:
        return None
    installs = [_install(part) for part in _split(tokens)]
    return None if None in installs else tuple(install for install in installs if install is not None)


def _split(tokens: Sequence[str]) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for token in tokens:
        if token == "&&":
            parts.append([])
        else:
            parts[-1].append(token)
    return [part for part in parts if part]


def _install(tokens: Sequence[str]) -> Install | None:
    if list(tokens[:4]) != _PIP or any(token in _OPERATORS for token in tokens):
        return None
    requirements: list[str] = []
    options: list[str] = []
    no_deps, plain = False, True
    rest = list(tokens[4:])
    while rest:
        token = rest.pop(0)
        if token in _VALUED and rest:
            options += [token, rest.pop(0)]
        elif token == "--no-deps":
            no_deps = True
        elif token.startswith("-"):
            plain = plain and (token in _QUIET or token.partition("=")[0] in _VALUED)
            options += [] if token in _QUIET else [token]
        else:
            requirements.append(token)
    return Install(tuple(requirements), tuple(options), no_deps, plain)
