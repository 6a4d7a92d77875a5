"""`artifacts` and `lineage` against a real server over a real record."""

# ruff: noqa: F811 - fixtures are given by the names they are imported under

import json

import pytest
from tests.web.conftest import asked_to_stop, client, ir, platform, runner, url  # noqa: F401

from tuneline.execute.digests import digest_path
from tuneline.plan.events import ArtifactRef, AttemptStarted, Outputs, TaskSucceeded


@pytest.fixture
def model(tuneline, client, url, runner, ir, tmp_path, monkeypatch) -> str:
    """The id of an artifact that is a folder."""
    monkeypatch.setenv("TUNELINE_URL", url)
    run = client.submit(ir, {}, {"name": "greet", "text": "", "path": "", "digest": ""})["id"]
    folder = tmp_path / "kept" / "model"
    folder.mkdir(parents=True)
    (folder / "a").write_text("x")
    (folder / "b").write_text("")
    id = f"{run}/hello/1/model"
    ref = ArtifactRef("model", "system.Model", str(folder), *digest_path(folder), {"r": 8}, id)
    done = TaskSucceeded("hello", 1, Outputs({}, {"model": (ref,)}), "k")
    runner.record.runs.append(
        runner.leases[run], [AttemptStarted("hello", 1, 1, 1.0, "/f", "k"), done], 1_800_000_000.0
    )
    return id


def test_artifacts_are_listed_and_shown(tuneline, model):
    said = tuneline("artifacts", "list")
    assert (said.code, said.out.split()[:5]) == (0, ["ARTIFACT", "TYPE", "BYTES", "CREATED", "DIGEST"])
    assert model in said.out
    assert tuneline("artifacts", "list", "--type", "system.HTML").err == "No artifacts.\n"
    shown = tuneline("artifacts", "show", model)
    assert "metadata     r = 8" in shown.out
    (row,) = json.loads(tuneline("artifacts", "list", "--json").out)
    assert json.loads(tuneline("artifacts", "show", row["digest"], "--json").out) == row


def test_a_download_is_checked_and_written_over_nothing(tuneline, model, tmp_path):
    said = tuneline("artifacts", "download", model, "-o", "here")
    assert (said.code, said.err) == (0, f"{model} is at here.\n")
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == ["a", "b"]
    again = tuneline("artifacts", "download", model, "-o", "here")
    assert (again.code, "is there already" in again.err) == (1, True)
    (tmp_path / "kept" / "model" / "a").write_text("changed")
    changed = tuneline("artifacts", "download", model, "-o", "there")
    assert "is not what was recorded" in changed.err
    assert not (tmp_path / "there").exists()
    nowhere = tuneline("artifacts", "download", model, "-o", "no/such/folder/x")
    assert "could not be written" in nowhere.err


def test_lineage_is_a_tree_for_people_and_a_graph_for_programs(tuneline, model):
    run = model.partition("/")[0]
    said = tuneline("lineage", model)
    assert said.out.splitlines() == [
        f"{model} came from:",
        f"  task hello of greet-{run}  SUCCEEDED  (model)",
        f"{model} became:",
        "  nothing on record",
    ]
    found = json.loads(tuneline("lineage", model, "--up", "--json").out)
    assert (found["direction"], found["roots"]) == ("up", [f"artifact:{model}"])
    unknown = tuneline("lineage", "greet@1.0.0")
    assert (unknown.code, "There is no release greet@1.0.0" in unknown.err) == (1, True)
