"""`evaluate.task: generate` by its steps, as real child processes on a tiny model that learns to answer."""

import json

import polars as pl
import pytest
from tests.steps.stepping import run_step
from tests.tiny import movie_rows, tiny_base, write_split

from tuneline.plan.comparison import Comparison
from tuneline.plan.gate import judge
from tuneline.steps.text_metrics import text_scores

pytestmark = pytest.mark.slow

ANSWERS = {"negative": "a bad film it was", "positive": "a good film it is"}


def titled(folder, rows, **more):
    """Rows whose completion is a text and that have no labels, as `prepare` writes them for `generate`."""
    write_split(folder, [{**row, "label": ANSWERS[row["label"]]} for row in rows], **more)
    info = json.loads((folder / "info.json").read_text()) | {"labels": []}
    (folder / "info.json").write_text(json.dumps(info))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generate")
    tiny_base(folder / "base", "gemma3")
    rows = movie_rows(48, start=1000)
    titled(folder / "train", movie_rows(200))
    titled(folder / "test", rows, keep={"mood": [row["label"] for row in rows]})
    (folder / "none").mkdir()
    recipe = {"r": 4, "learning_rate": 2e-2, "per_device_train_batch_size": 8, "dtype": "float32"}
    given = {"base": folder / "base", "train": folder / "train", "init": folder / "none"}
    for name, epochs in (("short", 1), ("long", 3)):
        run_step("tune", folder / name, {**recipe, "num_train_epochs": epochs}, given)
        package = folder / f"{name}-package"
        package.mkdir()
        (package / "adapter").symlink_to(folder / name / "adapter")
        base = json.loads((folder / "base" / "base.json").read_text())
        (package / "manifest.json").write_text(json.dumps({"base": base}))
    scored = {"base": folder / "base", "adapter": folder / "long" / "adapter", "test": folder / "test"}
    parameters = {"task": "generate", "dtype": "float32", "max_new_tokens": 12}
    run_step("score", folder / "scored", parameters, scored)
    return folder


def evaluated(world, name, live):
    given = {
        "base": world / "base",
        "adapter": world / "long" / "adapter",
        "test": world / "test",
        "live": live,
    }
    given |= {"scores": world / "scored" / "scores", "scored": world / "scored" / "report"}
    parameters = {"slices": ["mood"], "dtype": "float32", "max_new_tokens": 12, "live_digest": "sha256:1"}
    step = run_step("evaluate", world / name, parameters, given)
    return json.loads(step.out("report").read_text()), pl.read_parquet(step.out("predictions")), step


def verdict(report, table, rules, live):
    columns = {name: table[name].to_list() for name in table.columns if name != "row"}
    made = Comparison.of(report, columns, live_release="m@1.0.0", live_digest="sha256:1" if live else "")
    return {finding.rule: (finding.passed, finding.reason) for finding in judge(rules, made).findings}


def test_answers_have_scores_row_by_row_that_rules_read_and_pair(world):
    report, table, step = evaluated(world, "against-short", world / "short-package")
    candidate = report["candidate"]
    assert (report["task"], report["rows"], report["labels"]) == ("generate", 48, [])
    assert candidate["exact_match"] > 0.9
    assert candidate["rouge_l"] > report["base"]["rouge_l"]
    again = text_scores(table["candidate"].to_list(), table["label"].to_list())
    for name, values in again.items():
        assert table[f"candidate_score_{name}"].to_list() == values
        assert candidate[name] == pytest.approx(sum(values) / 48)
    assert set(table["label"]) == set(ANSWERS.values())
    parts = candidate["slices"]["mood"]
    assert sum(part["rows"] for part in parts.values()) == 48
    assert json.loads(step.out("metrics").read_text())["chrf"] == candidate["chrf"]
    rules = [
        "exact_match >= 0.9", "better(rouge_l, base)", "noninferior(chrf, live, margin=0.05)",
        "slices.mood.positive.rouge_l >= 0.9", "accuracy >= 0.1", "noninferior(accuracy, live)",
    ]  # fmt: skip
    found = verdict(report, table, rules, live=True)
    assert [found[rule][0] for rule in rules] == [True, True, True, True, False, False], found


def test_the_same_adapter_is_not_asked_again(world):
    report, table, step = evaluated(world, "against-itself", world / "long-package")
    assert report["live"] == report["candidate"]
    assert table["live"].to_list() == table["candidate"].to_list()
    assert any("its scores are the same" in event.get("message", "") for event in step.events())


def test_without_a_live_release_it_is_compared_with_the_base(world):
    report, table, _ = evaluated(world, "first", world / "none")
    assert report["live"] is None
    assert table["live"].null_count() == 48
    found = verdict(report, table, ["noninferior(rouge_l, live)", "better(rouge_l, live)"], live=False)
    assert [passed for passed, _ in found.values()] == [True, False]
