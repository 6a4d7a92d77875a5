"""`score` and `evaluate` as real child processes on a tiny model: some 4 s each."""

import json
import shutil

import numpy as np
import polars as pl
import pytest
from tests.steps.stepping import fail_step, run_step
from tests.tiny import movie_rows, tiny_base, write_split

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate")
    tiny_base(folder / "base", "gemma3")
    rows = movie_rows(60, start=1000)
    lengths = ["long" if len(row["text"]) > 40 else "short" for row in rows]
    write_split(folder / "train", movie_rows(200))
    write_split(folder / "test", rows, keep={"length": lengths})
    (folder / "none").mkdir()
    recipe = {
        "r": 4,
        "learning_rate": 1e-2,
        "per_device_train_batch_size": 8,
        "dtype": "float32",
        "num_train_epochs": 3,
    }
    given = {"base": folder / "base", "train": folder / "train", "init": folder / "none"}
    tuned = run_step("tune", folder / "tuned", recipe, given)
    scored = {"base": folder / "base", "adapter": tuned.out("adapter"), "test": folder / "test"}
    run_step("score", folder / "scored", {"task": "classify", "dtype": "float32"}, scored)
    package = folder / "package"
    (package / "adapter").parent.mkdir()
    (package / "adapter").symlink_to(tuned.out("adapter"))
    base = json.loads((folder / "base" / "base.json").read_text())
    (package / "manifest.json").write_text(json.dumps({"base": base}))
    trained = pl.read_parquet(folder / "test" / "rows.parquet")["row"].to_list()[:5]
    (package / "rows.txt").write_text("\n".join(sorted(trained)) + "\n")
    return folder


def inputs(world, **changes):
    given = {"base": world / "base", "adapter": world / "tuned" / "adapter", "test": world / "test"}
    scored = {"scores": world / "scored" / "scores", "scored": world / "scored" / "report"}
    return given | scored | {"live": world / "none"} | changes


def test_candidate_and_base_are_scored_on_the_same_rows(world):
    parameters = {"task": "classify", "slices": ["length"], "dtype": "float32"}
    step = run_step("evaluate", world / "first", parameters, inputs(world))
    report = json.loads(step.out("report").read_text())
    assert (report["rows"], report["left_out"], report["live"]) == (60, 0, None)
    assert report["labels"] == ["negative", "positive"]
    assert report["candidate"]["accuracy"] > 0.9
    assert report["candidate"]["accuracy"] > report["base"]["accuracy"]
    assert sum(part["rows"] for part in report["candidate"]["slices"]["length"].values()) == 60
    rows = pl.read_parquet(step.out("predictions"))
    assert rows["live"].null_count() == rows["live_p"].null_count() == 60
    assert "keep_length" in rows.columns
    right = (rows["candidate"] == rows["label"]).to_numpy()
    assert np.mean(right) == pytest.approx(report["candidate"]["accuracy"])
    assert np.allclose(rows["candidate_gold_p"].to_numpy()[right], rows["candidate_p"].to_numpy()[right])
    assert json.loads(step.out("metrics").read_text())["accuracy"] == report["candidate"]["accuracy"]


def test_rows_the_live_release_was_trained_on_are_left_out_and_counted(world):
    """Of a further set also those that the candidate learned, which went as it was prepared."""
    parameters = {"task": "classify", "dtype": "float32", "live_digest": "sha256:abc"}
    test = shutil.copytree(world / "test", world / "a-set")
    about = {"source": "hard.csv", "digest": "sha256:d", "dropped": {"trained": 7, "blank": 1}}
    info = json.loads((test / "info.json").read_text()) | {"set": about}
    (test / "info.json").write_text(json.dumps(info))
    step = run_step("evaluate", world / "live", parameters, inputs(world, live=world / "package", test=test))
    report = json.loads(step.out("report").read_text())
    assert (report["rows"], report["left_out"], report["live_digest"]) == (55, 5 + 7, "sha256:abc")
    assert report["set"] == about
    assert report["models"]["candidate"] == report["models"]["live"]
    assert report["live"] == report["candidate"]
    assert any("5 held-out rows were left out" in event.get("message", "") for event in step.events())


def test_a_live_release_on_another_base_is_scored_on_its_own_and_refused_without_it(world):
    elder, other = world / "elder", world / "other"
    shutil.copytree(world / "base", elder)
    base = json.loads((elder / "base.json").read_text()) | {"file_sha256": "0" * 64, "name": "elder"}
    (elder / "base.json").write_text(json.dumps(base))
    other.mkdir()
    (other / "adapter").symlink_to(world / "tuned" / "adapter")
    (other / "manifest.json").write_text(json.dumps({"base": base}))
    error = fail_step("evaluate", world / "refused", {}, inputs(world, live=other))
    assert error["code"] == "invalid_model"
    assert "stands on another base (elder" in error["message"]
    parameters = {"dtype": "float32", "live_base": str(elder)}
    step = run_step("evaluate", world / "on-its-own", parameters, inputs(world, live=other))
    report = json.loads(step.out("report").read_text())
    assert report["live"] == report["candidate"]  # the same weights under another name


def test_a_slice_that_was_not_kept_is_refused(world):
    error = fail_step("evaluate", world / "sliced", {"task": "classify", "slices": ["genre"]}, inputs(world))
    assert error["code"] == "invalid_spec"
    assert "no column `genre`" in error["message"]
    assert "data.keep" in error["hint"]


def test_a_live_release_with_another_adapter_is_scored_and_one_with_the_same_is_not(world):
    """The same adapter again under another digest: scored for itself, it must come to the same numbers."""
    other = world / "renamed"
    shutil.copytree(world / "tuned" / "adapter", other / "adapter")
    (other / "adapter" / "note.txt").write_text("another digest")
    (other / "manifest.json").write_text((world / "package" / "manifest.json").read_text())
    parameters = {"task": "classify", "dtype": "float32", "live_digest": "sha256:abc"}
    step = run_step("evaluate", world / "other-live", parameters, inputs(world, live=other))
    report = json.loads(step.out("report").read_text())
    assert report["live"] == report["candidate"]
    assert [event["done"] for event in step.events() if event["type"] == "progress"][-1] == 60
    same = run_step("evaluate", world / "same-live", parameters, inputs(world, live=world / "package"))
    assert any("scores are the same" in event.get("message", "") for event in same.events())
    assert not any(event["type"] == "progress" for event in same.events())


def test_an_unknown_task_is_refused(world):
    given = {name: inputs(world)[name] for name in ("base", "adapter", "test")}
    assert (
        "needs `train.entry`" in fail_step("score", world / "untasked", {"task": "regress"}, given)["message"]
    )
