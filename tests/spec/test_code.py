"""Entries of own code: read with the project, and what is wrong with them said with the line."""

from pathlib import Path

import pytest

from tuneline.errors import SpecError
from tuneline.spec import code
from tuneline.spec.project import parse

TEXT = """name: own
data: {source: rows.csv, label: y}
train:
  entry: train.py:main
  params: {C: 5e-1, deep: {on: true, "off": "1"}, sizes: [1, 2.5], none: null, word: five}
"""


def project(folder: Path, text: str = TEXT, **files: str):
    for name, body in {"train": "def main(rows, model_dir, params): ...", **files}.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(body)
    return parse(text, folder).project


def faults(folder: Path, text: str, **files: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        project(folder, text, **files)
    return caught.value.details


def test_parameters_keep_their_types(tmp_path):
    found = project(tmp_path).train.params
    assert found == {
        "C": 0.5, "deep": {"on": True, "off": "1"}, "sizes": [1, 2.5], "none": None, "word": "five",
    }  # fmt: skip


def test_with_own_code_pyfunc_serves_and_no_base_is_needed(tmp_path):
    found = project(tmp_path)
    assert (found.deploy.runtime, found.base_model) == ("pyfunc", "")
    assert found.value("evaluate.metrics") == ["accuracy", "f1", "confusion_matrix"]


def test_python_files_of_the_folder_are_read_but_for_environments(tmp_path):
    (tmp_path / "venv2").mkdir()
    (tmp_path / "venv2" / "pyvenv.cfg").write_text("")
    found = project(tmp_path, **{"lib/a": "x = 1", "venv2/b": "", ".hidden/c": "", "__pycache__/d": ""})
    assert found.code == {"lib/a.py": "x = 1", "train.py": "def main(rows, model_dir, params): ..."}


@pytest.mark.parametrize(
    "entry, files, fault",
    [
        ("trian.py:main", {}, "there is no file trian.py in the project's folder; nearest: `train.py`"),
        ("train.py:mian", {}, "train.py has no `mian`; nearest: `main`"),
        ("train.py:main", {"train": "def main(:\n"}, "train.py:1 is no valid Python"),
        ("train.py", {}, "does not fit: a file of the project's folder and a function in it"),
        ("../train.py:main", {}, "there is no file ../train.py"),
    ],
)
def test_an_entry_that_is_not_there_is_a_fault_with_its_line(tmp_path, entry, files, fault):
    found = faults(tmp_path, TEXT.replace("train.py:main", entry), **files)
    assert found[0].startswith("tuneline.yaml:4: `train.entry`")
    assert fault in found[0]


@pytest.mark.parametrize(
    "body", ["from x import main", "if True:\n    main = 1", "try:\n  import main\nexcept X: ..."]
)
def test_a_name_may_be_imported_or_assigned(tmp_path, body):
    assert project(tmp_path, train=body).train.entry == "train.py:main"


@pytest.mark.parametrize(
    "line, fault",
    [
        ("base_model: gemma-3-270m", "`base_model` has no effect with `train.entry`"),
        ("deploy: {runtime: llamacpp}", "is served by `pyfunc`"),
        ("evaluate: {metrics: [mse]}", "`mse` is not measured of `classify`"),
        ("evaluate: {task: regress, metrics: [r2]}", ""),
    ],
)
def test_keys_that_contradict_own_code_are_faults(tmp_path, line, fault):
    if not fault:
        assert project(tmp_path, TEXT + line).evaluate.task == "regress"
        return
    assert fault in faults(tmp_path, TEXT + line)[0]


def test_keys_of_a_base_have_no_effect_and_labels_are_needed_without_an_evaluation(tmp_path):
    text = TEXT.replace(", label: y", ", types: {y: float}").replace("  entry", "  lora_alpha: 3\n  entry")
    found = " ".join(faults(tmp_path, text))
    assert "`train.lora_alpha` has no effect with `train.entry`" in found
    assert "`data.types.y` is `float`; it can be number, integer, boolean, text" in found
    assert "`data.label` is missing" in found


def test_keys_of_own_code_mean_nothing_without_it(tmp_path):
    text = (
        "name: a\nbase_model: b\ndata: {source: r.csv, prompt: '{x}', completion: '{y}'}\n"
        "train: {requirements: [numpy]}\nevaluate: {task: regress}\ndeploy: {runtime: pyfunc}\n"
    )
    found = " ".join(faults(tmp_path, text))
    for said in ("`train.requirements` has no effect", "`evaluate.task: regress` needs", "and there is none"):
        assert said in found


def test_a_folder_of_thousands_of_files_is_no_project(tmp_path, monkeypatch):
    monkeypatch.setattr(code, "MAX_FILES", 3)
    found = faults(tmp_path, TEXT, a="", b="", c="", d="")
    assert "has more than 3 Python files" in found[0]
