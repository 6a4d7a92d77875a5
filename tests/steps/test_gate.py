"""The step `gate` through the executor contract: files in, verdict file and `passed` out."""

import json

import polars as pl

from tuneline.steps.main import main

RULES = [
    "accuracy >= 0.80",
    "noninferior(accuracy, live, margin=0.1)",
    "slices.source.all(v, slices.source[v].rows > 10)",
]


def predictions(rows, right, live_right):
    gold = ["negative", "positive"] * (rows // 2)
    other = {"negative": "positive", "positive": "negative"}

    def said(count):
        return [label if number < count else other[label] for number, label in enumerate(gold)]

    columns = {"row": [f"{n:032x}" for n in range(rows)], "label": gold}
    for who, count in (("candidate", right), ("base", rows // 2), ("live", live_right)):
        columns[who] = [None] * rows if count is None else said(count)
        columns[f"{who}_p"] = columns[f"{who}_gold_p"] = [None if count is None else 0.75] * rows
    columns["keep_source"] = ["a", "a", "b", "b"] * (rows // 4)
    schema = {name: pl.Float64 if name.endswith("_p") else pl.String for name in columns}
    return pl.DataFrame(columns, schema=schema)


def run_gate(folder, *, right=90, live_right=90, rules=RULES, rows=100, report=None, **parameters):
    folder.mkdir(exist_ok=True)
    predictions(rows, right, live_right).write_parquet(folder / "predictions.parquet")
    slices = {"source": {value: {"rows": rows // 2, "accuracy": 0.9, "f1": 0.9} for value in "ab"}}
    candidate = {"accuracy": right / rows, "f1": 0.9, "slices": slices}
    made = {"rows": rows, "left_out": 0, "labels": ["negative", "positive"], "candidate": candidate}
    made |= {"base": {"accuracy": 0.5}, "live": None}
    if live_right is not None:
        made["live"] = {"accuracy": live_right / rows}
        parameters = {"live_release": "m@1.0.0", "live_digest": "sha256:1", **parameters}
    (folder / "report.json").write_text(json.dumps({**made, **(report or {})}))
    body = {
        "inputs": {
            "parameterValues": {"rules": rules, **parameters},
            "artifacts": {
                "predictions": {"artifacts": [{"uri": str(folder / "predictions.parquet")}]},
                "report": {"artifacts": [{"uri": str(folder / "report.json")}]},
            },
        },
        "outputs": {
            "outputFile": str(folder / "out.json"),
            "artifacts": {"verdict": {"artifacts": [{"uri": str(folder / "out" / "verdict")}]}},
        },
    }
    code = main("gate", json.dumps(body))
    if code:
        return code, json.loads((folder / "error.json").read_text())
    passed = json.loads((folder / "out.json").read_text())["parameterValues"]["passed"]
    return passed, json.loads((folder / "out" / "verdict").read_text())


def test_a_good_candidate_passes_with_its_evidence(tmp_path):
    passed, verdict = run_gate(tmp_path)
    assert passed is verdict["passed"] is True
    assert [rule["passed"] for rule in verdict["rules"]] == [True, True, True]
    assert (verdict["live_release"], verdict["live_digest"]) == ("m@1.0.0", "sha256:1")


def test_a_refused_gate_is_no_failed_task(tmp_path):
    passed, verdict = run_gate(tmp_path, right=70)
    assert passed is verdict["passed"] is False
    assert verdict["rules"][0]["reason"] == "does not hold: accuracy is 0.7000"
    notes = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert notes[0]["message"] == "REFUSED  accuracy >= 0.80: does not hold: accuracy is 0.7000"


def test_a_first_release_has_nothing_to_be_worse_than(tmp_path):
    passed, verdict = run_gate(tmp_path, live_right=None, live_release="", live_digest="")
    assert passed
    assert verdict["rules"][1]["reason"].startswith("first release")
    assert verdict["live_digest"] is None


def test_without_a_server_the_live_release_is_unknown_and_the_rule_refuses(tmp_path):
    passed, verdict = run_gate(
        tmp_path, live_right=None, live_digest="unknown: no server: TUNELINE_URL is unset"
    )
    assert not passed
    assert "it is not known what is live (no server: TUNELINE_URL is unset)" in verdict["rules"][1]["reason"]
    assert verdict["live_digest"] is None


def test_the_same_evaluation_gives_the_same_bytes(tmp_path):
    verdicts = []
    for name in ("one", "two"):
        run_gate(tmp_path / name, rules=["better(log_loss, base)", "noninferior(f1, live)"])
        verdicts.append((tmp_path / name / "out" / "verdict").read_bytes())
    assert verdicts[0] == verdicts[1]


def test_an_evaluation_that_disagrees_with_its_predictions_fails_the_task(tmp_path):
    code, error = run_gate(tmp_path, report={"rows": 90})
    assert code == 1
    assert (error["code"], error["details"]) == ("invalid_data", ["rows: 90 and 100"])
