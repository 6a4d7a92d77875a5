"""Own code in a pipeline: which files go where, and the component as KFP's own compiler writes it."""

import json
import random
import shlex
from pathlib import Path
from typing import Any

import pytest

from tuneline.errors import SpecError
from tuneline.plan.compile import compile_project
from tuneline.plan.own_code import IMAGE, MOST, closure, python_container, train_container
from tuneline.spec.project import load, parse
from tuneline_ir import parse as parse_ir

EXAMPLE = Path(__file__).parents[2] / "examples" / "threat-classifier"
KFP_FIXTURE = Path(__file__).parent / "fixtures" / "kfp_python_component.json"


def test_a_component_has_what_its_entry_imports_followed_through():
    files = {
        "train.py": "import features\nfrom lib.text import words\n",
        "features.py": "import math, numbers_of\n",
        "numbers_of.py": "",
        "lib/__init__.py": "",
        "lib/text.py": "from . import stop\nfrom .deep.er import x\n",
        "lib/stop.py": "",
        "lib/deep/er.py": "x = 1",
        "lib/other.py": "",
        "evaluate.py": "",
    }
    found = closure(files, ["train.py:main"])
    assert set(found) == set(files) - {"lib/other.py", "evaluate.py"}


def test_a_module_beside_an_entry_in_a_folder_is_found_as_python_would():
    files = {"src/train.py": "import helper", "src/helper.py": "", "helper.py": "", "other.py": ""}
    assert "src/helper.py" in closure(files, ["src/train.py:main"])
    assert "other.py" not in closure(files, ["src/train.py:main"])


@pytest.mark.parametrize(
    "text",
    ["import importlib\n", "from importlib import import_module", "x = __import__('b')", "import pkgutil"],
)
def test_where_code_imports_by_name_all_files_go_with_it(text):
    files = {"train.py": text, "b.py": "", "c/d.py": ""}
    assert closure(files, ["train.py:main"]) == files


def test_the_container_is_that_of_kfp_s_compiler():
    """The fixture is what kfp 2.17.0 compiled for a component with two requirements, one with a quote."""
    kept = json.loads(KFP_FIXTURE.read_text())["container"]
    made = python_container("SOURCE", "train", ["scikit-learn==1.7.*", "it's"])
    assert (made["image"], made["args"]) == (kept["image"], kept["args"])
    assert [made["command"][at] for at in (0, 1, 3, 4)] == [kept["command"][at] for at in (0, 1, 3, 4)]
    assert installs(made) == installs(kept)
    assert run_words(made) == run_words(kept)


def installs(container: dict[str, Any]) -> list[str]:
    """What pip is asked for, but for what kfp adds for Pythons that are too old for us."""
    words = shlex.split(container["command"][2].split("fi\n", 1)[1])
    return [word for word in words if "typing-extensions" not in word]


def run_words(container: dict[str, Any]) -> list[str]:
    return container["command"][5].replace("\\\n", " ").split()


def test_a_changed_evaluation_leaves_training_as_it_was(tmp_path):
    def containers(**files: str) -> dict[str, Any]:
        for name, text in files.items():
            (tmp_path / f"{name}.py").write_text(text)
        ir = compile_project(load(tmp_path).project)
        return {name: body["container"] for name, body in ir["deploymentSpec"]["executors"].items()}

    (tmp_path / "tuneline.yaml").write_text(
        "name: own\ndata: {source: rows.csv, label: y}\n"
        "train: {entry: 'train.py:main'}\nevaluate: {entry: 'judge.py:main'}\n"
    )
    before = containers(train="def main(rows, model, params): ...", judge="def main(rows, model): return 1")
    after = containers(judge="def main(rows, model): return 2")
    assert after["exec-train"] == before["exec-train"]
    assert after["exec-score"] != before["exec-score"]


def test_the_line_is_read_by_the_parser_and_the_same_bytes_each_time():
    first, second = (compile_project(load(EXAMPLE).project) for _ in range(2))
    assert json.dumps(first) == json.dumps(second)
    pipeline = parse_ir(first)
    assert [name for name in first["root"]["dag"]["tasks"]] == [
        *("live", "fetch", "prepare", "train", "hold-out", "score", "score-live"),
        *("evaluate", "fetch-incidents", "prepare-incidents", "hold-out-incidents", "score-incidents"),
        *("score-live-incidents", "evaluate-incidents", "gate", "verify", "package", "propose"),
    ]
    assert pipeline.name == "threat-classifier"
    inputs = first["root"]["inputDefinitions"]["parameters"]
    assert inputs["train_params"]["defaultValue"] == {"trees": 60, "max_depth": 12, "seed": 7}
    assert "base_model" not in inputs
    train = first["deploymentSpec"]["executors"]["exec-train"]["container"]
    assert train["image"] == IMAGE
    assert "'scikit-learn==1.7.*'" in train["command"][2]
    assert "def main(rows: list[dict], model_dir: str, params: dict)" in train["command"][-1]


def test_large_code_is_compressed_and_too_large_code_refused_naming_the_largest_file():
    words = [f"word_{number} = '{number * 7919}'" for number in range(4000)]
    large = {"train.py": "def main(rows, model, params): ...\n" + "\n".join(words)}
    assert len(large["train.py"]) > 80_000
    source = train_container(large, "train.py:main", [])["command"][-1]
    assert len(source.encode()) <= MOST
    assert "word_1 =" not in source

    noise = random.Random(0).randbytes(100_000).hex()
    with pytest.raises(SpecError, match=r"too large to be put into a pipeline.*train\.py:main") as caught:
        train_container(
            {**large, "noise.py": f"x = r'''{noise}'''", "train.py": "import noise"}, "train.py:main", []
        )
    assert "noise.py" in caught.value.hint


def test_parameters_of_own_code_can_be_changed_for_one_run():
    text = (EXAMPLE / "tuneline.yaml").read_text()
    changed = parse(text, EXAMPLE, overrides={"train.params.trees": "5", "train.params.name": "x"}).project
    assert changed.train.params == {"trees": 5, "max_depth": 12, "seed": 7, "name": "x"}
