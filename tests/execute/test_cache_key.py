"""What changes a task's cache key, and what does not."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tuneline.execute.closure import ALWAYS, Closures
from tuneline.plan.cache import cache_key
from tuneline.types import Digest
from tuneline_ir import ArtifactSpec, Component, Container, Interface, Task

D1, D2 = Digest("sha256:" + "1" * 64), Digest("sha256:" + "2" * 64)
COMPONENT = Component(
    "comp-a", Interface(), Interface(artifacts={"f": ArtifactSpec("system.Model")}), "exec-a"
)
BASE: dict[str, Any] = {
    "task": Task("a", "comp-a", cached=True),
    "component": COMPONENT,
    "container": Container("tuneline", ("tuneline", "step", "a"), ("{{$}}",)),
    "parameters": {"r": 8, "s": "x"},
    "inputs": {"data": [D1]},
    "image": "sha256:code",
    "pipeline": "p",
}


@pytest.mark.parametrize(
    "change",
    [
        {"parameters": {"r": 16, "s": "x"}},
        {"parameters": {"r": "8", "s": "x"}},
        {"inputs": {"data": [D2]}},
        {"inputs": {"data": [D1, D1]}},
        {"inputs": {"other": [D1]}},
        {"image": "sha256:other"},
        {"provided": {"secretAsEnv": [{"secretNameParameter": "other"}]}},
        {"container": Container("tuneline", ("tuneline", "step", "b"), ("{{$}}",))},
        {"container": replace(BASE["container"], env={"A": "1"})},
        {"component": replace(COMPONENT, outputs=Interface())},
        {"task": Task("a", "comp-a", cached=True, cache_key="mine")},
    ],
)
def test_whatever_could_change_the_outputs_changes_the_key(change: dict[str, Any]) -> None:
    assert cache_key(**{**BASE, **change}) != cache_key(**BASE)


def test_the_names_of_task_and_component_and_the_order_of_parameters_do_not() -> None:
    other = {
        "task": Task("z", "comp-z", cached=True),
        "component": replace(COMPONENT, name="comp-z"),
        "parameters": {"s": "x", "r": 8},
    }
    assert cache_key(**{**BASE, **other}) == cache_key(**BASE)


def test_a_key_of_ones_own_takes_the_place_of_all_but_the_names_of_pipeline_and_component() -> None:
    mine = {**BASE, "task": Task("a", "comp-a", cached=True, cache_key="mine")}
    assert cache_key(**{**mine, "parameters": {}, "inputs": {}, "image": "x"}) == cache_key(**mine)
    assert cache_key(**{**mine, "pipeline": "q"}) != cache_key(**mine)
    assert cache_key(**{**mine, "component": replace(COMPONENT, name="comp-b")}) != cache_key(**mine)


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A small package like ours."""
    files = {
        "__init__.py": "",
        "errors.py": "import json\n",
        "other.py": "",
        "steps/__init__.py": "",
        "steps/main.py": "import importlib\nname = f'tuneline.steps.{1}'\n",
        "steps/io.py": "from tuneline.errors import X\n",
        "steps/fetch.py": "from tuneline.steps import sources\n",
        "steps/tune.py": "def run():\n    import tokenizers\n    from tuneline.train import loop\n",
        "steps/sources/__init__.py": "import pkgutil\n",
        "steps/sources/files.py": "",
        "train/__init__.py": "",
        "train/loop.py": "KINDS = {'lora': 'tuneline.train.lora'}\n",
        "train/lora.py": "",
    }
    for name, text in files.items():
        path = tmp_path / "tuneline" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "tuneline"


def test_a_closure_has_what_a_step_can_import_and_nothing_else(code: Path) -> None:
    closures = Closures({"tuneline": code})
    modules, _ = closures.modules("fetch")
    assert set(modules) == {
        "tuneline", "tuneline.errors", "tuneline.steps", "tuneline.steps.main", "tuneline.steps.io",
        "tuneline.steps.fetch", "tuneline.steps.sources", "tuneline.steps.sources.files",
    }  # fmt: skip
    modules, others = closures.modules("tune")
    assert {"tuneline.train.loop", "tuneline.train.lora"} <= set(modules)
    assert "tuneline.other" not in modules
    assert "tokenizers" in others


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("train/loop.py", {"tune"}),
        ("train/lora.py", {"tune"}),  # named in a text
        ("steps/sources/files.py", {"fetch"}),  # found by a package that lists its modules
        ("steps/sources/new.py", {"fetch"}),
        ("errors.py", {"fetch", "tune"}),
        ("steps/main.py", {"fetch", "tune"}),
        ("other.py", set()),
    ],
)
def test_editing_a_file_changes_the_digest_of_the_steps_that_can_import_it(
    code: Path, file: str, changes: set[str]
) -> None:
    closures = Closures({"tuneline": code})
    before = {step: closures.digest(step) for step in ("fetch", "tune")}
    (code / file).write_text("# edited\nimport pkgutil\nKINDS = {'lora': 'tuneline.train.lora'}\n")
    assert {step for step, digest in before.items() if closures.digest(step) != digest} == changes


def test_every_step_of_the_line_has_a_digest_and_the_heavy_packages_are_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closures = Closures()
    modules, _ = closures.modules("fetch")
    assert {"tuneline.steps.io", "tuneline.steps.sources.pypi", "tuneline.types"} <= set(modules)
    assert not any(name.startswith("tuneline.record") for name in modules)
    before = closures.digest("fetch")
    assert closures.digest("fetch") == before
    for name in ALWAYS:
        monkeypatch.setattr("tuneline.execute.closure._version", lambda asked, name=name: str(asked == name))
        assert closures.digest("fetch") != before
