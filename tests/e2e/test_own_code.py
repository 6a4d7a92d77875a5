"""A project with code of its own by its command line: Python components, gate, proof, `pyfunc`, all real."""

import json
import textwrap

import httpx
import pytest
from tests.e2e.world import World
from tests.kubeflow import TASK_ENV

pytestmark = pytest.mark.slow

FILES = {
    "train.py": """
        import json
        from words import count
        def main(rows, model_dir, params):
            seen = {}
            for row in rows:
                for word in count(row["text"]):
                    seen.setdefault(word, {}).setdefault(row["label"], 0)
                    seen[word][row["label"]] += 1
            with open(f"{model_dir}/model.json", "w") as file:
                json.dump({"seen": seen, "least": params["least"]}, file, sort_keys=True)
            return {"words": len(seen)}
        """,
    "words.py": "def count(text):\n    return sorted(set(text.split()))\n",
    "serve.py": """
        import json
        from words import count
        def load(model_dir):
            with open(f"{model_dir}/model.json") as file:
                model = json.load(file)
            def label(row):
                votes = {"good": 0.0, "bad": 0.0}
                for word in count(row["text"]):
                    found = model["seen"].get(word, {})
                    if sum(found.values()) >= model["least"]:
                        for name, number in found.items():
                            votes[name] += number / sum(found.values())
                return max(sorted(votes), key=votes.get)
            return lambda rows: [label(row) for row in rows]
        """,
    "evaluate.py": """
        from serve import load
        def main(rows, model_dir):
            said = load(model_dir)(rows)
            wrong = [float(a != row["label"]) for a, row in zip(said, rows)]
            predictions = [{"label": a, "scores": {"word_error": w}} for a, w in zip(said, wrong)]
            return {"metrics": {"worst": max(wrong)}, "predictions": predictions}
        """,
    "tuneline.yaml": """
        name: moods
        data: {source: rows.jsonl, label: label, split: {test: 0.4}}
        train: {entry: "train.py:main", params: {least: 1}}
        evaluate: {entry: "evaluate.py:main"}
        gate:
          - accuracy >= 0.7
          - confusion_matrix.good.bad <= 10
          - noninferior(word_error, live, margin=0.1)
        deploy: {entry: "serve.py:load"}
        """,
}


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path / "home", TUNELINE_TASK_ENV=str(TASK_ENV))
    yield made
    made.close()


def write(folder):
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(textwrap.dedent(text))
    words = {"good": ("fine", "great", "lovely"), "bad": ("poor", "dull", "awful")}
    labels = ("good", "bad")
    rows = [
        {"text": f"a {words[labels[at % 2]][at // 2 % 3]} film no {at}", "label": labels[at % 2]}
        for at in range(200)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def states(report):
    return {task["name"]: task["state"] for task in report["tasks"]}


def test_own_code_is_trained_judged_proven_released_and_served_and_only_what_changed_runs_again(
    world, tmp_path
):
    project = write(tmp_path / "moods")
    first = world.run(project)
    assert first["release"] == {"release": "moods@1.0.0", "state": "approved", "reason": "first release"}
    assert first["metrics"]["candidate"]["word_error"] < 0.1
    assert (first["proof"]["runtime"], first["proof"]["rows_equal"]) == ("pyfunc", 64)

    body = {"dataframe_records": [{"text": "a lovely film"}, {"text": "a dull film"}]}
    headers = {"x-tuneline-manifest": "1"}
    with httpx.Client(base_url=first["url"], timeout=30, trust_env=False) as client:
        answer = client.post("/invocations", json=body, headers=headers)
    assert answer.json()["predictions"] == ["good", "bad"]
    assert answer.json()["manifest"]["release"] == answer.headers["x-tuneline-release"] == "moods@1.0.0"

    again = world.run(project, expect=6)
    assert states(again)["train"] == states(again)["score"] == "CACHED"
    assert again["verdict"]["live_release"] == "moods@1.0.0"

    text = (project / "evaluate.py").read_text()
    (project / "evaluate.py").write_text(
        text.replace('"worst": max(wrong)', '"mean": sum(wrong) / len(wrong)')
    )
    judged = world.run(project)
    assert states(judged)["train"] == "CACHED", "a changed evaluation does not train again"
    assert states(judged)["score"] == "SUCCEEDED"
    assert "mean" in judged["metrics"]["candidate"]

    refused = world.run(project, "-p", "train.params.least=1000", expect=3)
    failed = [rule["rule"] for rule in refused["verdict"]["rules"] if not rule["passed"]]
    assert "noninferior(word_error, live, margin=0.1)" in failed
    with world.server() as client:
        assert client.endpoint("moods")["live"] == judged["release"]["release"]


def test_an_error_of_own_code_is_told_with_its_traceback_and_leaves_what_is_live(world, tmp_path):
    project = write(tmp_path / "moods")
    (project / "train.py").write_text("def main(rows, model_dir, params):\n    rows[0]['colour']\n")
    ended = world.cli("run", str(project))
    assert ended.returncode == 1
    assert "`train.py:main` failed: KeyError: 'colour'" in ended.stderr
    assert 'File "train.py", line 2, in main' in ended.stderr
    assert "harness" not in ended.stderr


def test_what_is_served_is_what_passed_the_gate_or_nothing_is_released(world, tmp_path):
    """`serve.py` answers otherwise than `evaluate.py` did."""
    project = write(tmp_path / "moods")
    text = (project / "evaluate.py").read_text()
    (project / "evaluate.py").write_text(
        text.replace("said = load(model_dir)(rows)", "said = [r['label'] for r in rows]")
    )
    serve = (project / "serve.py").read_text()
    (project / "serve.py").write_text(serve.replace("max(sorted(votes)", "min(sorted(votes)"))
    ended = world.cli("run", str(project), "--json")
    assert ended.returncode == 1
    report = json.loads(ended.stdout)
    error = next(task["error"] for task in report["tasks"] if task["name"] == "verify")
    assert error["code"] == "not_proven"
    assert (
        "get another prediction from `deploy.entry` than `evaluate.entry` gave to the gate"
        in error["details"][0]
    )
    assert report["release"] is None
