"""The harness around own code, in an interpreter of its own that imports nothing of ours, as in a task."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tuneline.plan import harness
from tuneline.plan.own_code import harness_text

ROWS = [{"x": at, "y": "ab"[at % 2]} for at in range(10)]
TRAIN = """
import json
def main(rows, model_dir, params):
    with open(model_dir + "/model.json", "w") as file:
        json.dump({"seen": len(rows), **params}, file)
    return {"rows": len(rows)}
"""
SERVE = """
import json
class Model:
    def __init__(self, folder): self.known = json.load(open(folder + "/model.json"))
    def predict(self, rows):
        assert all("y" not in row for row in rows), "the label is shown"
        return ["ab"[row["x"] % 2] for row in rows]
def load(model_dir): return Model(model_dir)
"""
EVALUATE = """
import serve
def main(rows, model_dir):
    said = serve.load(model_dir).predict([{"x": row["x"]} for row in rows])
    right = sum(a == row["y"] for a, row in zip(said, rows)) / len(rows)
    return {"metrics": {"right": right}, "predictions": said}
"""


def rows_in(folder: Path) -> Path:
    folder.mkdir()
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (folder / "info.json").write_text(json.dumps({"label": "y", "proof": [7, 2]}))
    return folder


def call(tmp_path: Path, program: str, *arguments: Any) -> subprocess.CompletedProcess[str]:
    """`reporting(program, *arguments)` in a child, as a component does."""
    given = json.dumps({"outputs": {"outputFile": str(tmp_path / "output.json")}})
    code = f"{harness_text()}\nprint(json.dumps(reporting({program}, *{list(arguments)!r})))"
    command = [sys.executable, "-I", "-c", code, "--executor_input", given]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def train(
    tmp_path: Path, text: str = TRAIN, params: Any = None, **more: str
) -> subprocess.CompletedProcess[str]:
    files = {"train.py": text, **{f"{name}.py": body for name, body in more.items()}}
    rows = rows_in(tmp_path / "rows")
    return call(
        tmp_path, "run_train", files, ["train.py:main"], params or {}, str(rows), str(tmp_path / "model")
    )


def score(tmp_path: Path, evaluate: str = "", serve: str = SERVE, code: bool = True, **more: str):
    files = {"serve.py": serve, **({"evaluate.py": evaluate} if evaluate else {}), **more}
    entries = ["evaluate.py:main" if evaluate else "", "serve.py:load" if serve else "", ""]
    model = tmp_path / "model"
    if not model.exists():
        model.mkdir()
        (model / "model.json").write_text("{}")
    arguments = [files, entries, {"entry": entries[1]}, {}, str(rows_in(tmp_path / "rows")), str(model)]
    places = [str(tmp_path / "scores"), str(tmp_path / "code") if code else ""]
    return call(tmp_path, "run_score", *arguments, *places)


def scores(tmp_path: Path) -> Any:
    return json.loads((tmp_path / "scores").read_text())


def error(tmp_path: Path) -> Any:
    return json.loads((tmp_path / "error.json").read_text())


def test_rows_and_parameters_go_in_and_a_model_and_numbers_come_out(tmp_path):
    ended = train(tmp_path, params={"C": 1.5, "deep": {"a": [1]}})
    assert json.loads(ended.stdout) == {"rows": 10.0}, ended.stderr
    assert json.loads((tmp_path / "model/model.json").read_text()) == {
        "seen": 10,
        "C": 1.5,
        "deep": {"a": [1]},
    }


def test_code_that_fails_is_told_with_its_own_part_of_the_traceback(tmp_path):
    text = "import deeper\ndef main(rows, model_dir, params):\n    deeper.fail(rows)\n"
    ended = train(tmp_path, text, deeper="def fail(rows):\n    return rows[0]['colour']\n")
    assert ended.returncode == 1
    left = error(tmp_path)
    assert left["code"] == "own_code"
    assert left["message"] == "`train.py:main` failed: KeyError: 'colour'"
    shown = "\n".join(left["details"])
    assert 'File "deeper.py", line 2, in fail' in shown
    assert 'File "train.py", line 3, in main' in shown
    assert "harness" not in shown
    assert "KeyError: 'colour'" in ended.stderr


@pytest.mark.parametrize(
    "text, said",
    [
        ("def main(rows, model_dir, params): return {'a': 1}", "wrote nothing to the model's folder"),
        ("import nothing_there\ndef main(r, m, p): ...", "No module named 'nothing_there'"),
        ("import sys\ndef main(r, m, p): sys.exit(0)", "`train.py:main` failed: SystemExit: 0"),
        ("def main(rows): ...", "takes 1 positional argument"),
        (
            TRAIN.replace('return {"rows": len(rows)}', "return [1]"),
            "must give metrics as a dict of numbers, not list",
        ),
        (
            TRAIN.replace('return {"rows": len(rows)}', "return {'r': 'x'}"),
            "the metric `r` as 'x': it must be a",
        ),
    ],
)
def test_what_a_train_function_does_wrong_is_named(tmp_path, text, said):
    ended = train(tmp_path, text)
    assert ended.returncode == 1
    assert said in error(tmp_path)["message"]


def test_predictions_are_those_of_predict_and_the_code_is_kept_with_an_example(tmp_path):
    ended = score(tmp_path)
    assert json.loads(ended.stdout) == {}, ended.stderr
    found = scores(tmp_path)
    assert found["predictions"] == [row["y"] for row in ROWS]
    assert found["served"] == {"rows": [7, 2], "predictions": ["b", "a"]}
    about = json.loads((tmp_path / "code/tuneline.json").read_text())
    assert about == {"entry": "serve.py:load", "example": {"x": 7}}
    assert sorted(path.name for path in (tmp_path / "code").rglob("*")) == ["serve.py", "tuneline.json"]


def test_an_evaluation_of_one_s_own_gets_labels_and_its_metrics_are_kept(tmp_path):
    ended = score(tmp_path, EVALUATE, code=False)
    assert json.loads(ended.stdout) == {"right": 1.0}, ended.stderr
    assert scores(tmp_path) == {
        "metrics": {"right": 1.0}, "predictions": [row["y"] for row in ROWS], "served": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    "evaluate, said",
    [
        (
            "def main(rows, model_dir): return 0.9",
            'must return {"metrics": {...}, "predictions": [...]}, not float',
        ),
        ("def main(rows, model_dir): return {'predictions': [1]}", "gave 1 predictions for 10 rows"),
        ("def main(rows, model_dir): return {'metrics': {'a b': 1}}", "the metric `a b`"),
        ("def main(rows, m): return {'predictions': [object() for _ in rows]}", "cannot be written as JSON"),
    ],
)
def test_what_an_evaluation_returns_wrong_is_named(tmp_path, evaluate, said):
    assert score(tmp_path, evaluate).returncode == 1
    assert said in error(tmp_path)["message"]


def test_nothing_live_is_scored_as_nothing(tmp_path):
    (tmp_path / "model").mkdir()
    assert score(tmp_path, EVALUATE, code=False).returncode == 0
    assert scores(tmp_path) == {"metrics": {}, "predictions": None, "served": None}


def test_without_an_entry_a_pickled_model_is_loaded_with_the_modules_it_was_made_of(tmp_path):
    maker = """
import pickle, shapes
def main(rows, model_dir, params):
    with open(model_dir + "/model.pkl", "wb") as file:
        pickle.dump(shapes.Model(), file)
"""
    shapes = "class Model:\n    def predict(self, rows): return [row['x'] for row in rows]\n"
    assert train(tmp_path, maker, shapes=shapes).returncode == 0
    (tmp_path / "rows").rename(tmp_path / "old")
    ended = score(tmp_path, serve="", **{"shapes.py": shapes})
    assert ended.returncode == 0, ended.stderr
    assert scores(tmp_path)["predictions"] == list(range(10))


def test_a_model_s_folder_that_nothing_loads_is_named_with_what_would(tmp_path):
    assert score(tmp_path, serve="").returncode == 1
    assert "The model's folder holds model.json" in error(tmp_path)["message"]


def test_arrays_and_tables_become_plain():
    numpy, polars = pytest.importorskip("numpy"), pytest.importorskip("polars")
    found = harness.plain({"a": numpy.arange(3), 1: (numpy.float32(0.5), numpy.True_, numpy.str_("x"))})
    assert found == {"a": [0, 1, 2], "1": [0.5, True, "x"]}
    assert json.loads(json.dumps(found)) == found
    assert harness.plain(polars.DataFrame({"a": [1, 2]})) == [{"a": 1}, {"a": 2}]
    assert harness.plain(iter(range(2))) == [0, 1]
