"""The example's line task by task: real components, real scikit-learn, a real runtime."""

import importlib.util
import json
import shutil
import sys
from pathlib import Path

import httpx
import pytest
from tests.steps.own_line import line_of

from tuneline.serve import child
from tuneline.steps import measure_own, verify_own

EXAMPLE = Path(__file__).parents[2] / "examples" / "threat-classifier"

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def interpreter(monkeypatch):
    """This one, which has scikit-learn: no test installs anything."""
    for module in (verify_own, measure_own):
        monkeypatch.setattr(module, "interpreter_of", lambda *_: Path(sys.executable))
    return Path(sys.executable)


def test_the_example_s_data_is_what_its_program_makes():
    spec = importlib.util.spec_from_file_location("generate", EXAMPLE / "generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    assert [
        json.loads(line) for line in (EXAMPLE / "flows.jsonl").read_text().splitlines()
    ] == generate.flows()
    found = [json.loads(line) for line in (EXAMPLE / "incidents.jsonl").read_text().splitlines()]
    assert found == generate.incidents()


def test_the_example_is_trained_judged_proven_packaged_and_served_and_compared_with_what_is_live(
    tmp_path, interpreter
):
    first = line_of(EXAMPLE, tmp_path / "first", interpreter).run()
    verdict = first.json("gate", "verdict")
    assert verdict["passed"], verdict["reason"]
    assert len(verdict["rules"]) == 12
    table = verdict["comparison"]
    assert [(one["set"], one["rows"]) for one in table["sets"]] == [("", 626), ("incidents", 300)]
    assert table["sets"][1]["source"] == "incidents.jsonl"
    incidents = first.json("evaluate-incidents", "report")
    assert (incidents["rows"], incidents["left_out"], incidents["set"]["source"]) == (
        300, 0, "incidents.jsonl",
    )  # fmt: skip
    assert [rule.get("origin", "")[:15] for rule in verdict["rules"][-2:]] == ["evaluate.safety"] * 2
    proof = first.json("verify", "proof")
    assert (proof["rows_equal"], proof["batch_equal"], proof["evaluated_equal"]) == (64, 64, 64)
    assert "scikit-learn 1.7" in proof["runtime_version"]

    package = first.out("package", "package")
    arguments = ["--runtime", "pyfunc", "--model", "threats", "--package", package, "--python", interpreter]
    with child.running(arguments) as url:
        example = json.loads((package / "served/code/tuneline.json").read_text())["example"]
        asked = {"dataframe_split": {"columns": list(example), "data": [list(example.values())]}}
        (said,) = httpx.post(f"{url}/invocations", json=asked, timeout=60, trust_env=False).json()[
            "predictions"
        ]
    assert said["label"] in ("benign", "scan", "brute-force", "exfiltration")

    weaker = tmp_path / "weaker"
    shutil.copytree(EXAMPLE, weaker)
    text = (weaker / "tuneline.yaml").read_text()
    text = text.replace("trees: 60, max_depth: 12", "trees: 1, max_depth: 2")
    latency = [
        "latency.p95 <= 60.0",
        "noninferior(latency.mean, live, margin=60)",
        "latency.ttft_p50 <= 60.0",
    ]
    text = text.replace("gate:\n", "gate:\n" + "".join(f"  - {rule}\n" for rule in latency))
    (weaker / "tuneline.yaml").write_text(text)
    second = line_of(weaker, tmp_path / "second", interpreter, live=package).run(until="gate")
    report = second.json("evaluate", "report")
    assert report["live"] == first.json("evaluate", "report")["candidate"]
    verdict = second.json("gate", "verdict")
    assert [rule["passed"] for rule in verdict["rules"][:3]] == [True, True, False]
    assert "is not measured on this runtime (there are: mean, p50, p95" in verdict["rules"][2]["reason"]
    measured = second.json("measure", "latency")
    assert measured["candidate"]["prompts"] == measured["live"]["prompts"] == 64
    refused = {rule["rule"] for rule in verdict["rules"] if not rule["passed"]}
    assert second.json("evaluate-incidents", "report")["live"] == incidents["candidate"]
    assert 'noninferior(slices["site"]["osaka"].accuracy, live, margin=0.05, alpha=0.025)' in refused
    assert {"noninferior(f1, live, margin=0.05, alpha=0.05)", "missed_threats <= 0.15"} <= refused
