"""Further sets, safety slices and latency in the line of a language model, by its command line: all real."""

import csv

import pytest
from tests.e2e.projects import write_project
from tests.tiny import movie_rows

pytestmark = pytest.mark.slow


def write_set(folder, label):
    """Reviews of one label: half of them are the project's own, of which some are trained on."""
    rows = [row for row in movie_rows(560)[400:] if row["label"] == label]
    with (folder / "hard.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["text", "label", "kind"])
        writer.writeheader()
        writer.writerows({**row, "kind": "long" if at % 2 else "short"} for at, row in enumerate(rows))
    return len(rows)


def test_a_candidate_is_compared_with_what_is_live_on_every_set_and_both_runtimes_are_timed(world, tmp_path):
    rules = [
        "sets.hard.accuracy >= 0.8",
        "noninferior(sets.hard.accuracy, live, margin=0.2)",
        "latency.ttft_p95 <= 60.0",
        "noninferior(latency.mean, live, margin=60.0)",
    ]
    evaluate = {
        "task": "classify",
        "sets": {"hard": {"source": "hard.csv"}},
        "safety": {"slices": {"label": ["positive", "negative"]}, "margin": 0.2},
    }
    project = write_project(tmp_path / "reviews", gate=rules, evaluate=evaluate)
    read = write_set(project, "positive")
    first = world.run(project)
    assert first["state"] == "SUCCEEDED"
    assert first["verdict"]["passed"], first["verdict"]["reason"]
    (main, hard) = first["verdict"]["comparison"]["sets"]
    assert (main["set"], hard["set"], hard["source"]) == ("", "hard", "hard.csv")
    assert hard["rows"] + hard["left_out"] == read
    assert 0 < hard["left_out"] < read

    (project / "hard.csv").unlink()
    write_set(project, "negative")
    second = world.run(project, expect=6)
    assert second["release"]["reason"].startswith("identical to reviews@1.0.0")  # a set is in no package
    comparison = second["verdict"]["comparison"]
    assert second["verdict"]["passed"], second["verdict"]["reason"]
    assert comparison["models"]["live"]["release"] == "reviews@1.0.0"
    assert comparison["models"]["candidate"]["digest"].startswith("sha256:")
    assert comparison["sets"][1]["source_digest"] != hard["source_digest"]
    assert (
        comparison["latency"]["live"]["runtime"]
        == comparison["latency"]["candidate"]["runtime"]
        == "llamacpp"
    )
    assert comparison["latency"]["live"]["tokens_per_s"] > 0
    lines = {(one["set"], one["value"], one["metric"]): one for one in comparison["lines"]}
    assert lines["hard", "", "accuracy"]["difference_interval"] is not None
    assert ("", "positive", "accuracy") in lines
    told = [rule["origin"] for rule in second["verdict"]["rules"] if "origin" in rule]
    assert told == ["evaluate.safety: alpha 0.05 over 2 slices"] * 2
